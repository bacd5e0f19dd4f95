/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return pmet_cli(argc, argv, pmet_io_system());
}
