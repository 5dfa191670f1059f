/* Preloaded into a process: logs what it does to one SQLite database, in the order in which it happens.
 *
 * POWER_FOLDER is the folder of `tasks.db`, POWER_LOG the log. Each entry is a header of 16 bytes and, for a write,
 * its data; `recording.py` reads it. One lock is held around each call and its entry, so that the log's order is the true
 * one: an entry of the ledger that follows a sync was written after that sync had returned.
 *
 * The -shm file is left out: it is mapped, and SQLite builds it anew after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define DESCRIPTORS 4096

struct entry {
    char kind;
    int8_t file;
    uint16_t unused;
    uint32_t length;
    uint64_t offset;
};

static const char *const NAMES[] = {"/tasks.db", "/tasks.db-wal", "/tasks.db-journal", "/ledger", ""};
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int8_t files[DESCRIPTORS]; /* place in NAMES plus one; 0 is none of ours */
static int sink = -1;

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int file_of(const char *path) {
    const char *folder = getenv("POWER_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    if (!length || strncmp(path, folder, length) != 0)
        return 0;
    for (int place = 0; place < 5; place++)
        if (strcmp(path + length, NAMES[place]) == 0)
            return place + 1;
    return 0;
}

static int file_at(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? files[descriptor] : 0;
}

static void put(const void *bytes, size_t length) {
    REAL(write);
    while (length) {
        ssize_t done = real(sink, bytes, length);
        if (done < 0)
            abort(); /* a log with a hole would say that things were lost */
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
    }
}

static void note(char kind, int file, uint64_t offset, const void *data, size_t length) {
    if (sink < 0) {
        REAL(open64);
        sink = real(getenv("POWER_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    struct entry entry = {kind, (int8_t)(file - 1), 0, (uint32_t)length, offset};
    put(&entry, sizeof entry);
    put(data, length);
}

#define OPENS(name)                                                                                                    \
    int file = file_of(path);                                                                                          \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                          \
    va_end(rest);                                                                                                      \
    REAL(name);                                                                                                        \
    if (!file)                                                                                                         \
        return real(path, flags, mode);                                                                                \
    pthread_mutex_lock(&order);                                                                                        \
    int descriptor = real(path, flags, mode);                                                                          \
    if (descriptor >= DESCRIPTORS)                                                                                     \
        abort();                                                                                                       \
    if (descriptor >= 0) {                                                                                             \
        files[descriptor] = (int8_t)file;                                                                              \
        if (flags & O_CREAT)                                                                                           \
            note('O', file, 0, NULL, 0);                                                                               \
    }                                                                                                                  \
    pthread_mutex_unlock(&order);                                                                                      \
    return descriptor;

int open(const char *path, int flags, ...) { OPENS(open) }
int open64(const char *path, int flags, ...) { OPENS(open64) }

int close(int descriptor) {
    REAL(close);
    if (file_at(descriptor))
        files[descriptor] = 0;
    return real(descriptor);
}

#define CHANGES(kind, where, data, length, call)                                                                       \
    int file = file_at(descriptor);                                                                                    \
    if (!file)                                                                                                         \
        return call;                                                                                                   \
    pthread_mutex_lock(&order);                                                                                        \
    ssize_t done = call;                                                                                               \
    if (done >= 0)                                                                                                     \
        note(kind, file, (uint64_t)(where), data, (size_t)(length));                                                   \
    pthread_mutex_unlock(&order);                                                                                      \
    return done;

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    CHANGES('W', offset, data, done, real(descriptor, data, size, offset))
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    CHANGES('W', offset, data, done, real(descriptor, data, size, offset))
}
ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    CHANGES('W', lseek64(descriptor, 0, SEEK_CUR) - done, data, done, real(descriptor, data, size))
}
int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate);
    CHANGES('T', size, NULL, 0, real(descriptor, size))
}
int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    CHANGES('T', size, NULL, 0, real(descriptor, size))
}
int fsync(int descriptor) {
    REAL(fsync);
    CHANGES('S', 0, NULL, 0, real(descriptor))
}
int fdatasync(int descriptor) {
    REAL(fdatasync);
    CHANGES('S', 0, NULL, 0, real(descriptor))
}

int unlink(const char *path) {
    REAL(unlink);
    int file = file_of(path);
    if (!file)
        return real(path);
    pthread_mutex_lock(&order);
    int failed = real(path);
    if (!failed)
        note('U', file, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return failed;
}
