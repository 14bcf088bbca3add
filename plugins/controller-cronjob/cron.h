#ifndef CRON_H
#define CRON_H
/* Schedules and the time zones they are meant in. Any thread. */
#include "kogge/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

/* A zone of the system's tz database. */
typedef struct zone zone_t;
/* NULL and a sentence if there is no such zone. Caller frees. "UTC" needs no file. */
zone_t *zone_load(const char *name, kg_error_t *err);
void zone_free(zone_t *z);
int64_t zone_offset(const zone_t *z, int64_t utc_s); /* seconds east of UTC at that moment */

/* The rule for what lies after a zone file's last entry: "CET-1CEST,M3.5.0,M10.5.0/3". */
typedef struct posix_rule {
  enum { RULE_M, RULE_J, RULE_N } kind;
  int month, week, day;
  int64_t time_s;
} posix_rule_t;
typedef struct posix {
  int64_t standard, summer; /* offsets */
  bool has_summer;
  posix_rule_t start, end;
} posix_t;
int posix_parse(const char *text, size_t n, posix_t *out); /* 0 or -1 */
int64_t posix_offset(const posix_t *p, int64_t utc_s);

/* Days since 1970 of a date of the Gregorian calendar, and back. month: 1..12 */
int64_t civil_days(int64_t year, int month, int day);
void civil_date(int64_t days, int64_t *year, int *month, int *day);

/* Five fields ("0-30/5 * 1,15 jan-mar mon"), or @hourly and its like, or @every 1h30m. */
typedef struct schedule {
  uint64_t minutes, hours, days, months, weekdays; /* bits */
  bool any_day, any_weekday;                       /* the field was * */
  int64_t every_s;                                 /* @every; else 0 */
} schedule_t;
int schedule_parse(const char *text, schedule_t *out, kg_error_t *err);
/* The first time after `after`; -1: never (within five years). */
int64_t schedule_next(const schedule_t *s, const zone_t *z, int64_t after_s);

#endif
