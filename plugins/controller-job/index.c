#include <stdio.h>
#include <stdlib.h>

#include "job.h"

void index_parse(kg_str_t text, uint8_t *flags, int64_t n) {
  int64_t from = -1, value = 0;
  bool digits = false;
  for (size_t i = 0; i <= text.n; i++) {
    char ch = i < text.n ? text.p[i] : ',';
    if (ch >= '0' && ch <= '9') {
      value = value < 1000000 ? value * 10 + ch - '0' : value;
      digits = true;
      continue;
    }
    if (ch == '-' && digits) {
      from = value;
    } else if (digits) {
      for (int64_t k = from >= 0 ? from : value; k <= value && k < n; k++) flags[k] = 1;
      from = -1;
    }
    value = 0;
    digits = false;
  }
}

/* Neighbours of three and more are written as a range. */
kube_node_t *index_text(kube_arena_t *a, const uint8_t *flags, int64_t n) {
  char *out = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&out, &size);
  if (!f) return NULL;
  for (int64_t i = 0; i < n; i++) {
    if (!flags[i]) continue;
    int64_t last = i;
    while (last + 1 < n && flags[last + 1]) last++;
    const char *comma = ftell(f) ? "," : "";
    if (last - i >= 2)
      fprintf(f, "%s%lld-%lld", comma, (long long)i, (long long)last);
    else if (last > i)
      fprintf(f, "%s%lld,%lld", comma, (long long)i, (long long)last);
    else
      fprintf(f, "%s%lld", comma, (long long)i);
    i = last;
  }
  fclose(f);
  kube_node_t *node = size ? kube_str(a, out) : NULL;
  free(out);
  return node;
}

int64_t index_count(const uint8_t *flags, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i++) sum += flags[i];
  return sum;
}
