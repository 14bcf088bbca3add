#include <string.h>

#include "cron.h"

int64_t civil_days(int64_t year, int month, int day) {
  int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
  int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void civil_date(int64_t days, int64_t *year, int *month, int *day) {
  int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153;
  *day = (int)(doy - (153 * mp + 2) / 5 + 1);
  *month = (int)(mp < 10 ? mp + 3 : mp - 9);
  *year = yoe + era * 400 + (*month <= 2);
}

/* --- the text ----------------------------------------------------------------------------------------------------- */

typedef struct cursor {
  const char *p, *end;
  bool bad;
} cursor_t;

static int64_t number(cursor_t *c) {
  int64_t n = 0;
  const char *from = c->p;
  while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && n < 100000) n = n * 10 + *c->p++ - '0';
  c->bad |= c->p == from;
  return n;
}

static bool take(cursor_t *c, char ch) {
  bool there = c->p < c->end && *c->p == ch;
  c->p += there;
  return there;
}

/* hh[:mm[:ss]] with a sign, in seconds */
static int64_t clock_time(cursor_t *c) {
  int64_t sign = take(c, '-') ? -1 : 1;
  if (sign > 0) take(c, '+');
  int64_t s = number(c) * 3600;
  if (take(c, ':')) s += number(c) * 60;
  if (take(c, ':')) s += number(c);
  return sign * s;
}

static void skip_name(cursor_t *c) {
  const char *from = c->p;
  if (take(c, '<')) {
    while (c->p < c->end && !take(c, '>')) c->p++;
  } else {
    while (c->p < c->end && ((*c->p | 32) >= 'a' && (*c->p | 32) <= 'z')) c->p++;
  }
  c->bad |= c->p == from;
}

static posix_rule_t rule(cursor_t *c) {
  posix_rule_t r = {.kind = RULE_N, .time_s = 7200};
  if (take(c, 'M')) {
    r.kind = RULE_M;
    r.month = (int)number(c);
    c->bad |= !take(c, '.');
    r.week = (int)number(c);
    c->bad |= !take(c, '.');
    c->bad |= r.month < 1 || r.month > 12 || r.week < 1 || r.week > 5;
  } else if (take(c, 'J')) {
    r.kind = RULE_J;
  }
  r.day = (int)number(c);
  if (take(c, '/')) r.time_s = clock_time(c);
  return r;
}

int posix_parse(const char *text, size_t n, posix_t *out) {
  cursor_t c = {text, text + n, false};
  memset(out, 0, sizeof *out);
  skip_name(&c);
  out->standard = -clock_time(&c);
  if (c.p == c.end) return c.bad ? -1 : 0;
  skip_name(&c);
  out->has_summer = true;
  out->summer = out->standard + 3600;
  if (c.p < c.end && *c.p != ',') out->summer = -clock_time(&c);
  c.bad |= !take(&c, ',');
  out->start = rule(&c);
  c.bad |= !take(&c, ',');
  out->end = rule(&c);
  return c.bad ? -1 : 0;
}

/* --- the calendar ------------------------------------------------------------------------------------------------- */

static bool is_leap(int64_t y) {
  return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Local seconds since 1970 at which the rule holds in that year. */
static int64_t moment(const posix_rule_t *r, int64_t year) {
  int64_t days = civil_days(year, 1, 1);
  if (r->kind == RULE_N) days += r->day;
  if (r->kind == RULE_J) days += r->day - 1 + (is_leap(year) && r->day >= 60);
  if (r->kind == RULE_M) {
    int64_t first = civil_days(year, r->month, 1);
    int64_t next = r->month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, r->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7;
    days = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
    while (days >= next) days -= 7;
  }
  return days * 86400 + r->time_s;
}

int64_t posix_offset(const posix_t *p, int64_t utc_s) {
  if (!p->has_summer) return p->standard;
  int64_t local = utc_s + p->standard, year;
  int month, day;
  civil_date((local >= 0 ? local : local - 86399) / 86400, &year, &month, &day);
  int64_t start = moment(&p->start, year) - p->standard, end = moment(&p->end, year) - p->summer;
  bool summer = start < end ? utc_s >= start && utc_s < end : utc_s >= start || utc_s < end;
  return summer ? p->summer : p->standard;
}
