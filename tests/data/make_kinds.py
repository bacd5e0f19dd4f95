#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the .bin files beside it, kinds, legacy and transposed with torch 2.2.2: what tests/test_torch_bin.c knows of them is said there."""
import collections
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
state = collections.OrderedDict()
state["f64"] = torch.tensor([0.1, -2.0], dtype=torch.float64)
state["f32"] = torch.nn.Parameter(torch.arange(6, dtype=torch.float32).reshape(2, 3))
state["f16"] = torch.tensor([[1.5]], dtype=torch.float16)
state["bf16"] = torch.tensor([-3.0, 2.0**100], dtype=torch.bfloat16)
state["i64"] = torch.tensor([2**40, -1])
state["i32"] = torch.tensor([-7], dtype=torch.int32)
state["u8"] = torch.tensor([255, 0, 1], dtype=torch.uint8)
state["bool"] = torch.ones(1, 1, 2, 2, dtype=torch.bool).tril()
state["scalar"] = torch.tensor(-1e9)
state["empty"] = torch.zeros(0, 4)
state["tied"] = state["f32"].data
state["row"] = state["f32"].data[1]
state["column"] = torch.ones(3, 1).t().contiguous().t()  # of a stride that has no bearing
state._metadata = collections.OrderedDict([("", {"version": 1}), ("lin", {"version": 1})])
torch.save(state, os.path.join(here, "kinds.bin"))
torch.save({"w": torch.ones(2)}, os.path.join(here, "legacy.bin"), _use_new_zipfile_serialization=False)
torch.save({"w": torch.ones(2, 3).t()}, os.path.join(here, "transposed.bin"))


# The forms that older code, and trainers, write; with torch 2.15. Views of a storage of 12, [3, 4].
base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
views = collections.OrderedDict()
views["whole"] = base
views["transposed"] = base.t()
views["cut"] = base[1:, ::2]
views["row"] = base[2]
views["expanded"] = torch.tensor([7.0]).expand(2, 3)
views["parameter"] = torch.nn.Parameter(torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).t())
views._metadata = collections.OrderedDict([("", {"version": 1})])
nested = {"epoch": 3, "lr": 0.5, "milestones": [1, 2], "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
          "state_dict": views}
wrapped = {"model": {"module." + k: v for k, v in views.items()}}
for name, value, legacy, protocol in (("views-legacy2.bin", nested, True, 2), ("views-legacy4.bin", views, True, 4),
                                      ("views-zip2.bin", wrapped, False, 2), ("views-zip3.bin", nested, False, 3),
                                      ("views-zip4.bin", nested, False, 4), ("views-zip5.bin", views, False, 5)):
    torch.save(value, os.path.join(here, name), pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
