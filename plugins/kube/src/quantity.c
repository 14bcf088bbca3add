/* Quantities: sign, digits with a fraction, and a suffix. k8s.io/apimachinery/pkg/api/resource.Quantity has the rules.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"

typedef __int128 wide_t;

typedef enum { DECIMAL_SI, BINARY_SI, EXPONENT } form_t;

/* value = number * 10^exp10 * 2^exp2, number with at most 36 digits kept. */
typedef struct {
  wide_t number;
  int exp10, exp2;
  form_t form;
} quantity_t;

static const struct {
  const char *suffix;
  int exp10, exp2;
} suffixes[] = {{"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"", 0, 0},   {"k", 3, 0},   {"M", 6, 0},
                {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0}, {"Ki", 0, 10}, {"Mi", 0, 20},
                {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}};

static int read_suffix(kg_str_t s, quantity_t *q) {
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    if (!kg_str_is(s, suffixes[i].suffix)) continue;
    q->exp10 += suffixes[i].exp10;
    q->exp2 = suffixes[i].exp2;
    q->form = suffixes[i].exp2 ? BINARY_SI : DECIMAL_SI;
    return 0;
  }
  if (s.n < 2 || s.n > 5 || (s.p[0] != 'e' && s.p[0] != 'E')) return -1;
  size_t at = 1 + (s.p[1] == '+' || s.p[1] == '-');
  int exponent = 0;
  if (at == s.n) return -1;
  for (size_t i = at; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9') return -1;
    exponent = exponent * 10 + (s.p[i] - '0');
  }
  q->exp10 += s.p[1] == '-' ? -exponent : exponent;
  q->form = EXPONENT;
  return 0;
}

static int parse(kg_str_t s, quantity_t *q) {
  size_t i = 0, digits = 0;
  bool negative = false, fraction = false;
  *q = (quantity_t){0};
  if (i < s.n && (s.p[i] == '-' || s.p[i] == '+')) negative = s.p[i++] == '-';
  for (; i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] == '.' && !fraction)); i++) {
    if (s.p[i] == '.') {
      fraction = true;
      continue;
    }
    digits++;
    if (q->number < (wide_t)1000000000000000000 * 100000000000000000)
      q->number = q->number * 10 + (s.p[i] - '0');
    else
      q->exp10++; /* beyond any precision Kubernetes keeps */
    if (fraction) q->exp10--;
  }
  if (!digits || read_suffix((kg_str_t){s.p + i, s.n - i}, q)) return -1;
  if (negative) q->number = -q->number;
  return 0;
}

static wide_t const limit = (wide_t)1 << 120;

/* The value times 10^scale, rounded away from zero; saturating. */
static wide_t scaled(const quantity_t *q, int scale) {
  wide_t v = q->number < 0 ? -q->number : q->number;
  bool rest = false;
  int exp2 = q->exp2, exp10 = q->exp10 + scale;
  for (; exp2 > 0 && v < limit; exp2--) {
    v *= 2;
    for (; v >= limit && exp10 < 0; exp10++) { /* makes room: what goes is far behind the point */
      rest |= v % 10 != 0;
      v /= 10;
    }
  }
  for (; exp10 > 0 && v && v < limit / 16; exp10--) v *= 10;
  if (exp10 > 0 && v) v = limit;
  for (; exp10 < 0 && (v || rest); exp10++) {
    rest |= v % 10 != 0;
    v /= 10;
    if (!v) break;
  }
  if (rest) v++;
  return q->number < 0 ? -v : v;
}

static int64_t saturate(wide_t v) {
  return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int kube_quantity_milli(kg_str_t s, int64_t *milli) {
  quantity_t q;
  if (parse(s, &q)) return -1;
  *milli = saturate(scaled(&q, 3));
  return 0;
}

int kube_quantity_value(kg_str_t s, int64_t *value) {
  quantity_t q;
  if (parse(s, &q)) return -1;
  *value = saturate(scaled(&q, 0));
  return 0;
}

static char *print(wide_t v, const char *suffix) {
  char digits[48], *p = digits + sizeof digits;
  bool negative = v < 0;
  *--p = '\0';
  if (negative) v = -v;
  do *--p = (char)('0' + (int)(v % 10));
  while (v /= 10);
  if (negative) *--p = '-';
  char *z = NULL;
  return asprintf(&z, "%s%s", p, suffix) < 0 ? NULL : z;
}

/* Whole multiples of 1024 as far as they go; false where the value is under 1024 or has a fraction: it is printed as
 * decimal. */
static char *canonical_binary(const quantity_t *q) {
  static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  wide_t v = scaled(q, 0);
  unsigned step = 0;
  for (; step < 6 && v && v % 1024 == 0; step++) v /= 1024;
  return print(v, names[step]);
}

/* number * 10^exp10 with no zero at its end, and an exponent of at least -9 that is a multiple of 3. */
static void shorten(wide_t *v, int *exp10) {
  bool rest = false;
  for (; *exp10 < -9; ++*exp10) {
    rest |= *v % 10 != 0;
    *v /= 10;
  }
  if (rest) ++*v;
  for (; *v && *v % 10 == 0; ++*exp10) *v /= 10;
  for (; *exp10 % 3; --*exp10) *v *= 10;
}

static char *canonical_decimal(const quantity_t *q) {
  static const char *const names[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  enum { LARGEST = 18 };
  wide_t v = q->exp2 ? scaled(q, 9) : q->number;
  int exp10 = q->exp2 ? -9 : q->exp10;
  bool negative = v < 0;
  if (negative) v = -v;
  shorten(&v, &exp10);
  if (v == 0) return strdup("0");
  if (negative) v = -v;
  char suffix[16] = "", *zeros, *z;
  if (q->form == EXPONENT) {
    if (exp10) snprintf(suffix, sizeof suffix, "e%d", exp10);
    return print(v, suffix);
  }
  if (exp10 <= LARGEST) return print(v, names[exp10 / 3 + 3]);
  if (asprintf(&zeros, "%0*dE", exp10 - LARGEST, 0) < 0) return NULL; /* there is no name for so much */
  z = print(v, zeros);
  free(zeros);
  return z;
}

/* Kubernetes caps binary quantities, and those only, at the largest int64. */
static void cap(quantity_t *q) {
  wide_t whole = scaled(q, 0);
  if (q->form == BINARY_SI && (whole > INT64_MAX || whole < -INT64_MAX))
    *q = (quantity_t){.number = whole < 0 ? -(wide_t)INT64_MAX : INT64_MAX, .form = BINARY_SI};
}

size_t kube_quantity_list(kg_str_t s, int64_t *values, size_t room) {
  size_t n = 0;
  while (s.n && n < room) {
    const char *comma = memchr(s.p, ',', s.n);
    kg_str_t one = {s.p, comma ? (size_t)(comma - s.p) : s.n};
    if (kube_quantity_value(one, &values[n])) values[n] = 0;
    n++;
    s = comma ? (kg_str_t){comma + 1, s.n - one.n - 1} : (kg_str_t){0};
  }
  return n;
}

char *kube_quantity_canonical(kg_str_t s) {
  quantity_t q;
  if (parse(s, &q)) return NULL;
  cap(&q);
  wide_t whole = scaled(&q, 0), size = whole < 0 ? -whole : whole;
  bool has_fraction = scaled(&q, 9) % 1000000000 != 0;
  if (q.form == BINARY_SI && !has_fraction && (size >= 1024 || size == 0)) return canonical_binary(&q);
  if (q.form == BINARY_SI) q.form = DECIMAL_SI;
  return canonical_decimal(&q);
}
