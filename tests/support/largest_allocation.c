/* A library to preload: remembers the largest block that the process asked malloc and its siblings
 * for, and writes it at exit to $EIGENSCALE_ALLOCATION_LOG.<pid> as decimal bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t largest;

static void note(size_t size) {
  size_t seen = __atomic_load_n(&largest, __ATOMIC_RELAXED);
  while (size > seen && !__atomic_compare_exchange_n(&largest, &seen, size, 0, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
}

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* block, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  note(size);
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  note(count * size);
  return __libc_calloc(count, size);
}
void* realloc(void* block, size_t size) {
  note(size);
  return __libc_realloc(block, size);
}
void* memalign(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, size_t alignment, size_t size) {
  note(size);
  *block = __libc_memalign(alignment, size);
  return *block == NULL ? 12 : 0;
}

__attribute__((destructor)) static void write_log(void) {
  const char* prefix = getenv("EIGENSCALE_ALLOCATION_LOG");
  if (prefix != NULL) {
    char name[4096];
    snprintf(name, sizeof name, "%s.%d", prefix, (int)getpid());
    FILE* file = fopen(name, "w");
    if (file != NULL) {
      fprintf(file, "%zu\n", __atomic_load_n(&largest, __ATOMIC_RELAXED));
      fclose(file);
    }
  }
}
