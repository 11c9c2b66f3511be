/* Sets the wall clock of one process, for tests: preload this library, and write the clock's offset into a file.

   The file that TIDINGS_TEST_CLOCK names has eight bytes: how many nanoseconds the clock is ahead. A change is a step of
   the clock, also for those who wait already until a time of the wall clock, as in Linux. The monotonic clock goes on.
   tests/stepped_clock.py compiles this. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SLICE (10 * 1000 * 1000LL) /* the longest wait before the offset is looked at again */

static volatile int64_t *offset_of_file;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TIDINGS_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) offset_of_file = found;
    close(file);
}

static int64_t offset(void) { return offset_of_file ? *offset_of_file : 0; }

static int64_t true_time(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static struct timespec spec(int64_t nanoseconds) {
    return (struct timespec){nanoseconds / SECOND, nanoseconds % SECOND};
}

static int64_t nanoseconds(const struct timespec *at) { return at->tv_sec * SECOND + at->tv_nsec; }

/* The time at which to look again, by the true clock; `until` is by the stepped one. */
static struct timespec slice(const struct timespec *until) {
    int64_t end = nanoseconds(until) - offset(), next = true_time() + SLICE;
    return spec(end < next ? (end > 0 ? end : 0) : next);
}

static int is_over(const struct timespec *until) { return true_time() + offset() >= nanoseconds(until); }

/* The real function. The version matters: without one, dlsym may return a condition variable of 1999. */
#define REAL(type, name, version) \
    static type *real; \
    if (!real) real = (type *)(dlvsym(RTLD_NEXT, name, version) ?: dlsym(RTLD_NEXT, name))

int clock_gettime(clockid_t clock, struct timespec *found) {
    int failed = syscall(SYS_clock_gettime, clock, found);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *found = spec(nanoseconds(found) + offset());
    return failed;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    (void)zone;
    int64_t now = true_time() + offset();
    found->tv_sec = now / SECOND;
    found->tv_usec = now % SECOND / 1000;
    return 0;
}

time_t time(time_t *found) {
    time_t now = (true_time() + offset()) / SECOND;
    if (found) *found = now;
    return now;
}

int timespec_get(struct timespec *found, int base) {
    *found = spec(true_time() + offset());
    return base;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    typedef int wait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    REAL(wait, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (condition->__data.__wrefs & 2) return real(condition, mutex, until); /* it waits by the monotonic clock */
    for (;;) {
        struct timespec next = slice(until);
        int told = real(condition, mutex, &next);
        if (told != ETIMEDOUT || is_over(until)) return told;
    }
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    typedef int wait(cnd_t *, mtx_t *, const struct timespec *);
    REAL(wait, "cnd_timedwait", "GLIBC_2.28");
    for (;;) {
        struct timespec next = slice(until);
        int told = real(condition, mutex, &next);
        if (told != thrd_timedout || is_over(until)) return told;
    }
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    typedef int wait(sem_t *, const struct timespec *);
    REAL(wait, "sem_timedwait", "GLIBC_2.34");
    for (;;) {
        struct timespec next = slice(until);
        int failed = real(semaphore, &next);
        if (!failed || errno != ETIMEDOUT || is_over(until)) return failed;
    }
}
