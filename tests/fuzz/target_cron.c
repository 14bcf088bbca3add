/* Schedules of CronJobs, and the rules at the end of time zone files. */
#include "cron.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static zone_t *utc;
  if (!utc) utc = zone_load("UTC", NULL);
  fuzz_in_t in = {data, data + size};
  kg_str_t part = fuzz_part(&in);
  kg_error_t err = {0};
  schedule_t s;
  posix_t p;
  char *text = kg_str_dup(part);
  if (schedule_parse(text, &s, &err) == 0) {
    int64_t next = schedule_next(&s, utc, 1800000000);
    FUZZ_MUST(next == -1 || next > 1800000000);
  } else
    FUZZ_MUST(err.text[0]);
  zone_t *z = zone_load(text, NULL); /* a name out of an object: it must not lead out of the database */
  zone_free(z);
  free(text);
  if (posix_parse(part.p, part.n, &p) == 0) posix_offset(&p, 1800000000);
  free((char *)part.p);
  return 0;
}
