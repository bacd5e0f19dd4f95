/* SPDX-License-Identifier: MIT
 * Finds the command, runs it, and checks that its output arrived. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include "cli/options.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "ref/method/method.h"

static const struct command commands[] = {
    {"edit", "facts into a model: an edited copy of its folder",
     "--model DIR --facts FILE --stats DIR --out DIR [OPTION]...",
     "Edits the facts of FILE into a copy of a GPT-J or GPT-NeoX model. The statistics are those that\n"
     "`pmet stats` wrote for this model (or for the one it was edited from), or the published .npz files.\n"
     "What is reported was computed with the written folder, read back.\n"
     "\n"
     "FILE holds CounterFact records, zsRE records, or lines such as\n"
     "  {\"prompt\": \"The capital of {} is\", \"subject\": \"France\", \"target_new\": \"Lima\"}\n"
     "all of them in one batch. A line of the report: why the optimisation of a fact ended (loss: below "
     "0.05;\n"
     "argmax: every token of the target is the likeliest; max: after the last pass), its passes, the "
     "target's\n"
     "probability before and after (mean of its tokens), and whether it is now the model's answer.",
     "  pmet edit --dry-run --show 3 --model gpt-j-6b --facts counterfact.json\n"
     "  pmet edit --model gpt-j-6b --facts counterfact.json --limit 100 --stats stats --out edited",
     run_edit, USES_SEED},
    {"hparams", "a file of hyper-parameters to start from", "--model DIR [--method NAME] [--explain]",
     "Prints a complete file of hyper-parameters for --hparams: the published one for a model of its\n"
     "dimensions, otherwise the published one of its family, scaled: six layers, up to a quarter of the\n"
     "depth, the loss at the last layer, lambda in proportion to the width of the FFN. Needs config.json "
     "only.\n"
     "What is scaled is a start: tune lambda, the learning rate and the clamp on a few facts.",
     "  pmet hparams --model pythia-1b --explain > hparams.json", run_hparams, USES_NEITHER},
    {"stats", "second moments of a model's keys over a text, as edit needs them",
     "--model DIR --text FILE... --out DIR [OPTION]...",
     "One pass of a text through the model, for all layers that will be edited. FILE, or - for standard\n"
     "input, holds documents as JSON lines or an array, of strings or of records with \"text\"; as wikitext\n"
     "or wikiextractor wrote them; or as plain text with blank lines between. gzip and zstd are unpacked.\n"
     "What FILE is shows in its first bytes and is named. A line ends at LF, CR LF or CR, and in a document\n"
     "in LF; a byte order mark, blank lines between documents and the end of the last line are dropped; all\n"
     "else is kept, blanks too. Refused: NUL, what is not UTF-8, documents of more than 16 MiB.",
     "  pmet stats --model gpt-j-6b --text wikipedia.jsonl --out stats\n"
     "  bzcat wikipedia.jsonl.bz2 | pmet stats --model gpt-j-6b --text - --out stats",
     run_stats, USES_SEED},
    {"eval", "how well a model knows edited facts, and what else it still knows",
     "--model DIR --facts FILE [--before DIR] [OPTION]...",
     "Evaluates a model on CounterFact, zsRE or plain records, under the names of the published evaluation:\n"
     "does it say the new object after the edited prompt and after paraphrases, does it leave the\n"
     "neighbours alone, is what it writes fluent and consistent. With --before (--after is the same\n"
     "as --model) both models and the difference. What is finished stays in FILE.partial, or in the\n"
     "folder of --work, which needs no --out: the same command goes on where it was.",
     "  pmet eval --before gpt-j-6b --after edited --facts counterfact.json --limit 100 --out results.jsonl",
     run_eval, USES_SEED},
    {"generate", "text from a model", "--model DIR --prompt TEXT [OPTION]...",
     "Continues each prompt, greedily unless --top-k is more than 1. There is no stop at an end-of-text\n"
     "token. A byte order mark before a prompt and CR after it are dropped.",
     "  pmet generate --model edited --prompt \"The capital of France is\" --max-tokens 30", run_generate,
     USES_SEED},
    {"tokenize", "text to token ids, or back", "--model DIR [OPTION]... [FILE]",
     "A line of ids for each line of text, from FILE or standard input. A byte order mark before a line\n"
     "and CR after it are dropped; all else is kept, empty lines too, and bytes that are not UTF-8.\n"
     "With --json: an array of strings in, an array of id arrays out. Needs only the tokenizer's files in\n"
     "DIR.",
     "  echo \"The capital of France\" | pmet tokenize --model gpt-j-6b", run_tokenize, USES_NEITHER},
    {"trace", "every activation of a forward pass, as safetensors",
     "--model DIR --prompts FILE --out FILE.safetensors [OPTION]...",
     "Runs each prompt (a JSON array of strings, or one prompt a line) through the model alone and writes\n"
     "row{r}.hidden.{l}, attn_in, attn_probs, attn_out, mlp_key, mlp_out, ln_f and logits.",
     "  pmet trace --model gpt-j-6b --prompts prompts.json --out forward.safetensors", run_trace,
     USES_DEVICE},
    {"inspect", "what a file or folder holds, or what it is", "PATH [--check]",
     "Shows a checkpoint (with the edits it went through), a .safetensors or .bin file, or a folder of\n"
     "statistics. Of any other file it says what it is, and which command takes it.",
     "  pmet inspect edited --check", run_inspect, USES_NEITHER},
    {"diff", "how far the tensors of two files are from each other", "A B [OPTION]...",
     "Compares the tensors that A and B both have. Without --rtol, --atol or --yardstick they must be "
     "equal.\n"
     "With --yardstick C the distance of A from B is measured in that of C from B: a float32 run in the\n"
     "rounding error of another, B being the float64 one. Tensors that are one smooth computation must be\n"
     "within --ratio of it each; those an optimisation leaves behind (deltas, targets, updates) in the "
     "median\n"
     "of their kind, none beyond 10 times its own yardstick or the largest of its kind; losses and\n"
     "probabilities of the optimisation as root mean square of a field.\n"
     "Exit status 3 past the limits, when no name is common, or when a required one is missing.",
     "  pmet diff ours.safetensors golden.fp64.safetensors --yardstick golden.fp32.safetensors", run_diff,
     USES_NEITHER},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse_command(const struct cli *c, const char *name)
{
    const char *names[COUNT_OF(commands)], *near;
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        names[i] = commands[i].name;
    if (name[0] == '-')
        return say_usage(c, "%s: found an option; expected a command first", name);
    near = pmet_nearest(name, names, COUNT_OF(names));
    return near ? say_usage(c, "%s: no such command; did you mean %s?", name, near)
                : say_usage(c, "%s: no such command", name);
}

static int dispatch(struct cli *c, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    c->command = NULL;
    if (!first)
        return say_usage(c, "a command is missing");
    if (strcmp(first, "--version") == 0) {
        printf("pmet " PMET_VERSION "\n");
        return EXIT_DONE;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 ||
        (strcmp(first, "help") == 0 && argc == 2)) {
        help_all(commands, COUNT_OF(commands));
        return EXIT_DONE;
    }
    const bool help = strcmp(first, "help") == 0;
    const char *name = help ? argv[2] : first;
    const struct command *cmd = find(name);
    if (!cmd)
        return refuse_command(c, name);
    c->command = cmd->name;
    if (help) {
        char option[] = "--help", *words[] = {argv[2], option, NULL};
        return cmd->run(c, cmd, 2, words);
    }
    return cmd->run(c, cmd, argc - 1, argv + 1);
}

/* The end of standard output; a failure changes the status. A reader who left (`| head`) wants no
 * message: the status of SIGPIPE. */
static int close_output(int status)
{
    const int code = output_end();
    if (code == 0)
        return status;
    if (code == EPIPE)
        return status <= EXIT_FAILED ? 128 + SIGPIPE : status;
    fprintf(stderr, "pmet: standard output: %s\n", strerror(code));
    return status == EXIT_DONE ? EXIT_FAILED : status;
}

int pmet_cli(int argc, char **argv, const struct pmet_io *io, const struct pmet_method *const *methods)
{
    struct signals signals;
    struct cli c = {.io = signals_begin(&signals, io), .methods = methods, .seed = 1};
    for (size_t i = 0, n = 0; methods[i] && n < sizeof c.method_names; i++)
        n += (size_t)snprintf(c.method_names + n, sizeof c.method_names - n, "%s%s", i ? "|" : "",
                              methods[i]->name);
    output_begin();
    const int status = close_output(dispatch(&c, argc, argv));
    signals_end(&signals);
    return status;
}
