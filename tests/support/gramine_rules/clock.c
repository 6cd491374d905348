/* Clocks as an enclave under Gramine sees them: all are the host's.
 *
 * The wall clock is ahead by the seconds (a double) in the file that STRONGROOM_TEST_CLOCK names, which the test
 * rewrites. Every other clock is that one too, and besides jumps an hour ahead and back, twenty times a second. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile double *ahead;

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("STRONGROOM_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) ahead = mapped;
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        return syscall(SYS_clock_gettime, clock, now);
    int failed = syscall(SYS_clock_gettime, CLOCK_REALTIME, now);
    if (ahead) now->tv_sec += (time_t)*ahead;
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && now->tv_nsec / 50000000 % 2) now->tv_sec += 3600;
    return failed;
}

/* The kernel does not know of our clocks: wait for what is left by them. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    struct timespec now, wait = *until;
    if (flags & TIMER_ABSTIME) {
        clock_gettime(clock, &now);
        long long ns = (until->tv_sec - now.tv_sec) * 1000000000LL + until->tv_nsec - now.tv_nsec;
        if (ns <= 0) return 0;
        if (ns > 1000000000LL) ns = 1000000000LL; /* a jump fell between; a test does not wait an hour for it */
        wait.tv_sec = ns / 1000000000LL;
        wait.tv_nsec = ns % 1000000000LL;
    }
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &wait, left) ? errno : 0;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    (void)zone;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *where) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (where) *where = precise.tv_sec;
    return precise.tv_sec;
}
