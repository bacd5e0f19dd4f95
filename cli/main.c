/* SPDX-License-Identifier: MIT
 * The process around the command: its three standard files, and threads that wait without
 * spinning. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "cli/cli.h"
#include "ref/method/method.h"

/* A standard file that the caller closed is opened in a way that fails when it is used. Otherwise a
 * file of ours would take its number and receive what is printed. */
static bool hold_standard_files(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

/* OpenMP's threads spin while they wait, by default: beside other programs on the same cores a
 * small edit then takes ten times as long. OpenMP reads its setting from the environment before
 * main, so the program starts itself once more. If that fails, it goes on as it is. */
static void wait_passively(char **argv)
{
#ifdef _OPENMP
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 0) == 0)
        execv("/proc/self/exe", argv);
#else
    (void)argv;
#endif
}

int main(int argc, char **argv)
{
    if (!hold_standard_files())
        return 1;
    wait_passively(argv);
    return pmet_cli(argc, argv, pmet_io_system(), pmet_methods);
}
