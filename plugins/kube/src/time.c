#include <stdbool.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kube/values.h"

/* Days since 1970-01-01 of a civil date, and back: timegm and gmtime_r without their range and locale surprises. */
static int64_t days_of(int64_t y, unsigned m, unsigned d) {
  y -= m <= 2;
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  unsigned yoe = (unsigned)(y - era * 400), doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
  return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void format(int64_t wall_us, bool micro, char buf[32]) {
  int64_t seconds = wall_us / 1000000, rest = wall_us % 1000000;
  if (rest < 0) {
    rest += 1000000;
    seconds--;
  }
  time_t t = (time_t)seconds;
  struct tm tm;
  gmtime_r(&t, &tm);
  int n = snprintf(buf, 32, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                   tm.tm_min, tm.tm_sec);
  snprintf(buf + n, 32 - (size_t)n, micro ? ".%06" PRId64 "Z" : "Z", rest);
}

void kube_time_format(int64_t wall_us, char buf[32]) {
  format(wall_us - wall_us % 1000000, false, buf);
}

void kube_time_format_micro(int64_t wall_us, char buf[32]) {
  format(wall_us, true, buf);
}

static int digits(const char *p, unsigned n, unsigned *out) {
  *out = 0;
  for (unsigned i = 0; i < n; i++) {
    if (p[i] < '0' || p[i] > '9') return -1;
    *out = *out * 10 + (unsigned)(p[i] - '0');
  }
  return 0;
}

/* The fraction after the seconds, in microseconds; returns the bytes it takes. */
static size_t fraction(const char *p, size_t left, int64_t *us) {
  *us = 0;
  if (!left || *p != '.') return 0;
  size_t n = 1;
  for (int64_t unit = 100000; n < left && p[n] >= '0' && p[n] <= '9'; n++, unit /= 10) *us += (p[n] - '0') * unit;
  return n > 1 ? n : 0;
}

static int offset(const char *p, size_t left, int64_t *seconds) {
  unsigned h, m;
  *seconds = 0;
  if (left == 1 && (*p == 'Z' || *p == 'z')) return 0;
  if (left != 6 || (*p != '+' && *p != '-') || p[3] != ':' || digits(p + 1, 2, &h) || digits(p + 4, 2, &m) || h > 23 ||
      m > 59)
    return -1;
  *seconds = (*p == '-' ? -1 : 1) * (int64_t)(h * 3600 + m * 60);
  return 0;
}

int kube_time_parse(kg_str_t s, int64_t *wall_us) {
  unsigned y, mo, d, h, mi, sec;
  int64_t us, off;
  if (s.n < 20 || digits(s.p, 4, &y) || digits(s.p + 5, 2, &mo) || digits(s.p + 8, 2, &d) || digits(s.p + 11, 2, &h) ||
      digits(s.p + 14, 2, &mi) || digits(s.p + 17, 2, &sec))
    return -1;
  if (s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != 't') || s.p[13] != ':' || s.p[16] != ':')
    return -1;
  unsigned leap = mo == 2 && (y % 4 || (y % 100 == 0 && y % 400)) ? 28 : 29;
  unsigned last = mo == 2 ? leap : mo == 4 || mo == 6 || mo == 9 || mo == 11 ? 30 : 31;
  if (mo < 1 || mo > 12 || d < 1 || d > last || h > 23 || mi > 59 || sec > 60) return -1;
  size_t at = 19 + fraction(s.p + 19, s.n - 19, &us);
  if (offset(s.p + at, s.n - at, &off)) return -1;
  int64_t t = ((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + (int64_t)sec - off;
  if (t < days_of(0, 1, 1) * 86400 || t >= days_of(10000, 1, 1) * 86400)
    return -1; /* its year in UTC has no four digits */
  *wall_us = t * 1000000 + us;
  return 0;
}

/* Milliseconds of a unit at p; *n: its letters. 0: no unit. */
static double unit_ms(const char *p, size_t left, size_t *n) {
  static const struct {
    const char *name;
    double ms;
  } units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    *n = strlen(units[i].name);
    if (*n <= left && !memcmp(p, units[i].name, *n)) return units[i].ms;
  }
  return 0;
}

int kube_duration_ms(kg_str_t s, int64_t *ms) {
  double sum = 0;
  if (s.n == 1 && s.p[0] == '0') return *ms = 0, 0;
  for (size_t i = 0; i < s.n;) {
    double value = 0, place = 1;
    size_t digits = 0, n;
    bool point = false;
    for (; i < s.n && (isdigit((unsigned char)s.p[i]) || (s.p[i] == '.' && !point)); i++) {
      if (s.p[i] == '.') {
        point = true;
        continue;
      }
      digits++;
      value = value * 10 + (s.p[i] - '0');
      if (point) place *= 10;
    }
    double unit = unit_ms(s.p + i, s.n - i, &n);
    if (!digits || unit == 0) return -1;
    sum += value / place * unit;
    i += n;
  }
  if (!s.n || sum > 9e15) return -1;
  *ms = (int64_t)(sum + 0.5);
  return 0;
}
