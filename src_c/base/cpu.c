/* cpu.c: detection behind cpu.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "cpu.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __linux__
#include <errno.h>
#include <sched.h>
#endif
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define FNN_X86 1
#endif

#define PATH_BYTES 4352 /* a cgroup path of up to 4096 bytes, its mount point and a file name */

/* ---- instruction sets ---- */

#ifdef FNN_X86
/* XCR0: which register sets the operating system saves at a context switch. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void detect_isas(fnn_cpu *cpu) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return;
    cpu->sse2 = (d & bit_SSE2) != 0;
    int fma = (c & bit_FMA) != 0, osxsave = (c & bit_OSXSAVE) != 0, avx = (c & bit_AVX) != 0;
    if (!osxsave || !avx || !fma || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return;
    const uint64_t ymm = 0x6, zmm = 0xe6; /* SSE and AVX; those and opmask, upper zmm, zmm16-31 */
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    uint64_t saved = saved_state();
    cpu->avx2 = (b & bit_AVX2) != 0 && (saved & ymm) == ymm;
    cpu->avx512 = cpu->avx2 && (b & avx512) == avx512 && (saved & zmm) == zmm;
}
#else
static void detect_isas(fnn_cpu *cpu) {
#ifdef __aarch64__
    cpu->neon = 1;
#else
    (void)cpu;
#endif
}
#endif

/* ---- caches ---- */

static void set_cache(fnn_cpu *cpu, int level, int64_t bytes) {
    int64_t *slot = level == 1 ? &cpu->l1d_bytes : level == 2 ? &cpu->l2_bytes : level == 3 ? &cpu->l3_bytes : NULL;
    if (slot != NULL && bytes > 0)
        *slot = bytes;
}

/* The first line of a small text file, without its newline; 0 on success. */
static int read_line(const char *path, char *line, int capacity) {
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    int failed = fgets(line, capacity, file) == NULL;
    fclose(file);
    if (failed)
        return -1;
    line[strcspn(line, "\n")] = '\0';
    return 0;
}

static void caches_of_sysfs(fnn_cpu *cpu) {
    for (int index = 0; index < 8; index++) {
        char path[96], type[32], level[16], size[32], unit = '\0';
        long long bytes = 0;
        const char *directory = "/sys/devices/system/cpu/cpu0/cache/index";
        snprintf(path, sizeof path, "%s%d/type", directory, index);
        if (read_line(path, type, sizeof type) != 0)
            return;
        snprintf(path, sizeof path, "%s%d/level", directory, index);
        if (strcmp(type, "Instruction") == 0 || read_line(path, level, sizeof level) != 0)
            continue;
        snprintf(path, sizeof path, "%s%d/size", directory, index);
        if (read_line(path, size, sizeof size) != 0 || sscanf(size, "%lld%c", &bytes, &unit) < 1)
            continue;
        set_cache(cpu, atoi(level), bytes * (unit == 'K' ? 1024 : unit == 'M' ? 1024 * 1024 : 1));
    }
}

/* CPUID leaf 4 (Intel) or 0x8000001D (AMD): one sub-leaf per cache. */
static void caches_of_cpuid(fnn_cpu *cpu) {
#ifdef FNN_X86
    static const unsigned leaves[2] = {4, 0x8000001D};
    for (int kind = 0; kind < 2; kind++)
        for (unsigned index = 0; index < 8; index++) {
            unsigned a, b, c, d;
            if (!__get_cpuid_count(leaves[kind], index, &a, &b, &c, &d) || (a & 31) == 0)
                break;
            if ((a & 31) == 2) /* instructions */
                continue;
            int64_t ways = (b >> 22) + 1, partitions = (b >> 12 & 0x3ff) + 1, line = (b & 0xfff) + 1;
            set_cache(cpu, (int)(a >> 5 & 7), ways * partitions * line * ((int64_t)c + 1));
        }
#else
    (void)cpu;
#endif
}

/* ---- cores ---- */

static int affinity_cores(void) {
#ifdef __linux__
    for (size_t capacity = 1024; capacity <= 1 << 20; capacity *= 4) {
        cpu_set_t *set = CPU_ALLOC(capacity);
        if (set == NULL)
            return 1;
        size_t bytes = CPU_ALLOC_SIZE(capacity);
        int result = sched_getaffinity(0, bytes, set);
        int error = errno, count = result == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (result == 0)
            return count > 0 ? count : 1;
        if (error != EINVAL) /* EINVAL: the kernel knows more processors than the set holds */
            break;
    }
#endif
#ifdef _SC_NPROCESSORS_ONLN
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
#else
    return 1;
#endif
}

#ifdef __linux__
/* Cores that one cgroup directory allows, rounded up; 0 = no limit stated here. */
static int quota_of_directory(const char *directory) {
    char path[PATH_BYTES + 32], line[64];
    long long quota = -1, period = -1;
    snprintf(path, sizeof path, "%s/cpu.max", directory); /* version 2: "max 100000" or "150000 100000" */
    if (read_line(path, line, sizeof line) == 0) {
        if (sscanf(line, "%lld %lld", &quota, &period) != 2)
            return 0;
    } else { /* version 1: two files, quota -1 = none */
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
        if (read_line(path, line, sizeof line) != 0 || sscanf(line, "%lld", &quota) != 1)
            return 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
        if (read_line(path, line, sizeof line) != 0 || sscanf(line, "%lld", &period) != 1)
            return 0;
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long long cores = (quota + period - 1) / period;
    return cores > 1 << 20 ? 1 << 20 : (int)cores;
}

/* The smallest limit of mount/group and of every directory above it, up to the mount: a limit of a parent binds, and
 * a container that sees the host's group name finds its own limit at the mount. */
static int quota_along(const char *mount, const char *group, int cores) {
    char directory[PATH_BYTES];
    int root = snprintf(directory, sizeof directory, "%s", mount);
    if (snprintf(directory, sizeof directory, "%s%s", mount, group) >= (int)sizeof directory)
        directory[root] = '\0';
    for (;;) {
        int limit = quota_of_directory(directory);
        if (limit > 0 && limit < cores)
            cores = limit;
        char *slash = strrchr(directory + root, '/');
        if (slash == NULL)
            return cores;
        *slash = '\0';
    }
}

/* Is `name` one of the comma-separated `controllers`? */
static int has_controller(const char *controllers, const char *name) {
    size_t length = strlen(name);
    for (const char *at = controllers; at != NULL; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return 1;
    return 0;
}

/* Lines of /proc/self/cgroup are "id:controllers:group"; version 2 has an empty controller list. */
static int cgroup_cores(const char *proc_file, const char *sysfs, int cores) {
    static const char *const mounts[2][2] = {{"cpu", "cpu,cpuacct"}, {"", "unified"}}; /* version 1, version 2 */
    FILE *file = fopen(proc_file, "r");
    if (file == NULL)
        return cores;
    char line[PATH_BYTES], mount[256];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(++controllers, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        int version2 = controllers[0] == '\0';
        if (!version2 && !has_controller(controllers, "cpu"))
            continue;
        for (int i = 0; i < 2; i++) {
            const char *below = mounts[version2][i];
            snprintf(mount, sizeof mount, "%s%s%s", sysfs, below[0] ? "/" : "", below);
            cores = quota_along(mount, strcmp(group, "/") == 0 ? "" : group, cores);
        }
    }
    fclose(file);
    return cores;
}
#endif

static int read_cores(void) {
    int cores = affinity_cores();
#ifdef __linux__
    cores = cgroup_cores("/proc/self/cgroup", "/sys/fs/cgroup", cores);
#endif
    return cores < 1 ? 1 : cores;
}

/* Reading a quota opens files (some 20 us), so it is done ten times a second at most. */
int fnn_usable_cores(void) {
    static const int64_t AGE_NS = 100000000;
    static _Atomic int cores;
    static _Atomic int64_t read_at;
    struct timespec t;
#ifdef CLOCK_MONOTONIC_COARSE
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    const int64_t now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    int known = atomic_load_explicit(&cores, memory_order_relaxed);
    if (known == 0 || now - atomic_load_explicit(&read_at, memory_order_relaxed) > AGE_NS) {
        atomic_store_explicit(&read_at, now, memory_order_relaxed); /* first: other threads need not read it too */
        known = read_cores();
        atomic_store_explicit(&cores, known, memory_order_relaxed);
    }
    return known;
}

/* ---- once ---- */

static void detect(fnn_cpu *cpu) {
    memset(cpu, 0, sizeof *cpu);
    cpu->l1d_bytes = 32 << 10;
    cpu->l2_bytes = 512 << 10;
    cpu->l3_bytes = 8 << 20;
    detect_isas(cpu);
    caches_of_cpuid(cpu);
    caches_of_sysfs(cpu); /* later, so it wins: it also knows what a hypervisor hides from CPUID */
}

const fnn_cpu *fnn_cpu_get(void) {
    static fnn_cpu cpu;
    static atomic_int state; /* 0 untouched, 1 one thread is detecting, 2 ready */
    int expected = 0;
    if (atomic_load_explicit(&state, memory_order_acquire) == 2)
        return &cpu;
    if (atomic_compare_exchange_strong(&state, &expected, 1)) {
        detect(&cpu);
        atomic_store_explicit(&state, 2, memory_order_release);
    }
    while (atomic_load_explicit(&state, memory_order_acquire) != 2) {
    }
    return &cpu;
}
