#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cron.h"

typedef struct range {
  int low, high;
  const char *names; /* three letters each; the first one is `low` */
} range_t;

static const range_t MINUTES = {0, 59, NULL}, HOURS = {0, 23, NULL}, DAYS = {1, 31, NULL},
                     MONTHS = {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                     WEEKDAYS = {0, 6, "sunmontuewedthufrisat"};

/* --- parsing ------------------------------------------------------------------------------------------------------ */

static int value(const char **p, const range_t *r, int *out) {
  char *end;
  if (isdigit((unsigned char)**p)) {
    long n = strtol(*p, &end, 10);
    *p = end;
    *out = n > 1000 ? 1000 : (int)n;
    return 0;
  }
  for (const char *name = r->names; name && *name; name += 3)
    if (!strncasecmp(*p, name, 3) && !isalnum((unsigned char)(*p)[3])) {
      *out = r->low + (int)(name - r->names) / 3;
      *p += 3;
      return 0;
    }
  return -1;
}

/* One of the terms between commas: "*", "3", "1-5", "*"/2, "7/3". */
static int term(const char **p, const range_t *r, uint64_t *bits, bool *star) {
  int low = r->low, high = r->high, step = 1;
  if (**p == '*' || **p == '?') {
    (*p)++;
    *star = true;
  } else {
    if (value(p, r, &low)) return -1;
    high = low;
    if (**p == '-' && ((*p)++, value(p, r, &high))) return -1;
    if (**p == '/' && high == low) high = r->high;
  }
  if (**p == '/') {
    (*p)++;
    if (!isdigit((unsigned char)**p) || value(p, r, &step) || step < 1) return -1;
    *star &= step == 1;
  }
  if (low < r->low || high > r->high || low > high) return -1;
  for (int i = low; i <= high; i += step) *bits |= 1ull << i;
  return 0;
}

static int field(const char **p, const range_t *r, uint64_t *bits, bool *star) {
  bool ignored = false;
  if (!star) star = &ignored;
  *bits = 0;
  *star = false;
  while (**p == ' ' || **p == '\t') (*p)++;
  do {
    if (term(p, r, bits, star)) return -1;
  } while (**p == ',' && (*p)++);
  return **p == ' ' || **p == '\t' || **p == '\0' ? 0 : -1;
}

/* "1h30m10s" in seconds; 0: no duration */
static int64_t duration(const char *p) {
  double sum = 0;
  if (!*p) return 0;
  while (*p) {
    char *end;
    if (!isdigit((unsigned char)*p) && *p != '.') return 0;
    double n = strtod(p, &end);
    p = end;
    if (!strncmp(p, "ms", 2)) {
      sum += n / 1000;
      p++;
    } else if (*p == 'h' || *p == 'm' || *p == 's') {
      sum += n * (*p == 'h' ? 3600 : *p == 'm' ? 60 : 1);
    } else {
      return 0;
    }
    p++;
  }
  return sum < 1 ? 1 : sum > 1e9 ? 1000000000 : (int64_t)sum;
}

static const char *macro(const char *text) {
  static const char *const names[][2] = {
      {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
      {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(text, names[i][0])) return names[i][1];
  return text;
}

int schedule_parse(const char *text, schedule_t *out, kg_error_t *err) {
  memset(out, 0, sizeof *out);
  if (!strncmp(text, "@every ", 7)) {
    out->every_s = duration(text + 7);
    return out->every_s ? 0 : kg_error_set(err, KG_EINVAL, "failed to parse duration %s", text);
  }
  const char *p = macro(text);
  if (*p == '@') return kg_error_set(err, KG_EINVAL, "unrecognized descriptor: %s", text);
  bool bad = field(&p, &MINUTES, &out->minutes, NULL) || field(&p, &HOURS, &out->hours, NULL) ||
             field(&p, &DAYS, &out->days, &out->any_day) || field(&p, &MONTHS, &out->months, NULL) ||
             field(&p, &WEEKDAYS, &out->weekdays, &out->any_weekday);
  while (!bad && (*p == ' ' || *p == '\t')) p++;
  if (bad || *p) return kg_error_set(err, KG_EINVAL, "expected exactly 5 valid fields: %s", text);
  return 0;
}

/* --- the next time ------------------------------------------------------------------------------------------------ */

enum { DAY = 86400, YEARS = 5 };

static int64_t local_of(const zone_t *z, int64_t utc) {
  return utc + zone_offset(z, utc);
}

static bool has(uint64_t bits, int64_t i) {
  return bits >> i & 1;
}

static bool day_matches(const schedule_t *s, int64_t local) {
  int64_t days = local / DAY, year;
  int month, day;
  civil_date(days, &year, &month, &day);
  if (!has(s->months, month)) return false;
  bool by_day = has(s->days, day), by_weekday = has(s->weekdays, (days + 4) % 7);
  return s->any_day || s->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The beginning of the next local day. A change of the offset in between is put right. */
static int64_t next_day(const zone_t *z, int64_t utc) {
  utc += DAY - local_of(z, utc) % DAY;
  int64_t over = local_of(z, utc) % DAY;
  if (over >= DAY / 2) return utc + DAY - over;
  return over && local_of(z, utc - over) % DAY == 0 ? utc - over : utc;
}

int64_t schedule_next(const schedule_t *s, const zone_t *z, int64_t after_s) {
  if (s->every_s) return after_s + s->every_s;
  int64_t t = after_s - after_s % 60 + 60, limit = after_s + (int64_t)YEARS * 366 * DAY;
  while (t < limit) {
    int64_t local = local_of(z, t);
    if (!day_matches(s, local))
      t = next_day(z, t);
    else if (!has(s->hours, local % DAY / 3600))
      t += 3600 - local % 3600;
    else if (!has(s->minutes, local % 3600 / 60))
      t += 60 - local % 60;
    else
      return t;
  }
  return -1;
}
