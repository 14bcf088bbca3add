#include <stdlib.h>

#include "kernel.h"

static bool before(const kg_due_t *a, const kg_due_t *b) {
  return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void put(kg_heap_t *h, size_t i, kg_due_t *due) {
  h->due[i] = due;
  due->place = i;
}

static void up(kg_heap_t *h, size_t i, kg_due_t *due) {
  for (; i > 1 && before(due, h->due[i / 2]); i /= 2) put(h, i, h->due[i / 2]);
  put(h, i, due);
}

static void down(kg_heap_t *h, size_t i, kg_due_t *due) {
  for (size_t child; (child = 2 * i) <= h->count; i = child) {
    if (child < h->count && before(h->due[child + 1], h->due[child])) child++;
    if (!before(h->due[child], due)) break;
    put(h, i, h->due[child]);
  }
  put(h, i, due);
}

int kg_heap_add(kg_heap_t *h, kg_due_t *due, int64_t at_us) {
  if (h->count + 2 > h->room) {
    size_t room = h->room ? h->room * 2 : 64;
    kg_due_t **bigger = realloc(h->due, room * sizeof *bigger);
    if (!bigger) return -1;
    h->due = bigger;
    h->room = room;
  }
  due->at_us = at_us;
  due->seq = ++h->seq;
  up(h, ++h->count, due);
  return 0;
}

void kg_heap_remove(kg_heap_t *h, kg_due_t *due) {
  size_t i = due->place;
  if (!i) return;
  due->place = 0;
  kg_due_t *last = h->due[h->count--];
  if (last == due) return;
  if (i > 1 && before(last, h->due[i / 2]))
    up(h, i, last);
  else
    down(h, i, last);
}

void kg_heap_free(kg_heap_t *h) {
  free(h->due);
  *h = (kg_heap_t){0};
}
