/* A library to preload: remembers the largest block that the process asked malloc and its siblings
 * for, and the most bytes that it held at a time, and writes both at exit to
 * $EIGENSCALE_ALLOCATION_LOG.<pid> as decimal bytes. Unlike the resident memory of a process, they
 * do not depend on what malloc keeps, nor on the other processes of the machine. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t largest, held, most_held;

static void raise_to(size_t* maximum, size_t size) {
  size_t seen = __atomic_load_n(maximum, __ATOMIC_RELAXED);
  while (size > seen && !__atomic_compare_exchange_n(maximum, &seen, size, 0, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
}

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* block, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void* block);

/* What was asked for, and what came of it. */
static void* note(size_t size, void* block) {
  raise_to(&largest, size);
  raise_to(&most_held, __atomic_add_fetch(&held, malloc_usable_size(block), __ATOMIC_RELAXED));
  return block;
}
static void forget(void* block) {
  __atomic_sub_fetch(&held, malloc_usable_size(block), __ATOMIC_RELAXED);
}

void* malloc(size_t size) { return note(size, __libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return note(count * size, __libc_calloc(count, size)); }
void* realloc(void* block, size_t size) {
  const size_t before = malloc_usable_size(block);
  void* after = __libc_realloc(block, size);
  if (after != NULL || size == 0) {
    __atomic_sub_fetch(&held, before, __ATOMIC_RELAXED);
  }
  return note(size, after);
}
void* memalign(size_t alignment, size_t size) {
  return note(size, __libc_memalign(alignment, size));
}
void* aligned_alloc(size_t alignment, size_t size) {
  return note(size, __libc_memalign(alignment, size));
}
int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = note(size, __libc_memalign(alignment, size));
  return *block == NULL ? 12 : 0;
}
void free(void* block) {
  forget(block);
  __libc_free(block);
}

__attribute__((destructor)) static void write_log(void) {
  const char* prefix = getenv("EIGENSCALE_ALLOCATION_LOG");
  if (prefix != NULL) {
    char name[4096];
    snprintf(name, sizeof name, "%s.%d", prefix, (int)getpid());
    FILE* file = fopen(name, "w");
    if (file != NULL) {
      fprintf(file, "%zu %zu\n", __atomic_load_n(&largest, __ATOMIC_RELAXED),
              __atomic_load_n(&most_held, __ATOMIC_RELAXED));
      fclose(file);
    }
  }
}
