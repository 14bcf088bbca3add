#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cron.h"
#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define CRONJOBS "batch/v1/cronjobs"
#define JOBS "batch/v1/jobs"

/* --- schedules ---------------------------------------------------------------------------------------------------- */

static void next_is(const char *text, const char *zone, const char *after, const char *want) {
  schedule_t s;
  kg_error_t err = {0};
  int64_t us = 0;
  char got[32] = "never";
  zone_t *z = zone_load(zone, &err);
  cr_assert(z, "%s", err.text);
  cr_assert(schedule_parse(text, &s, &err) == 0, "%s", err.text);
  cr_assert(kube_time_parse(kg_str(after), &us) == 0);
  int64_t next = schedule_next(&s, z, us / 1000000);
  if (next >= 0) kube_time_format(next * 1000000, got);
  cr_assert_str_eq(got, want, "%s in %s after %s: %s instead of %s", text, zone, after, got, want);
  zone_free(z);
}

Test(cron, fields) {
  next_is("* * * * *", "UTC", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z");
  next_is("*/15 * * * *", "UTC", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z");
  next_is("0 22 * * 1-5", "UTC", "2026-01-02T23:00:00Z", "2026-01-05T22:00:00Z"); /* a Friday */
  next_is("0 0 13 * 5", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");   /* the 13th or a Friday */
  next_is("5 4 * jan-mar sun", "UTC", "2026-03-30T00:00:00Z", "2027-01-03T04:05:00Z");
  next_is("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
  next_is("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", "never");
  next_is("10/20 1,3 * * *", "UTC", "2026-01-01T01:11:00Z", "2026-01-01T01:30:00Z");
  next_is("@hourly", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
  next_is("@weekly", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
  next_is("@every 1h30m", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z");
}

Test(cron, zones) {
  next_is("0 9 * * *", "Europe/Berlin", "2026-01-10T00:00:00Z", "2026-01-10T08:00:00Z");
  next_is("0 9 * * *", "Europe/Berlin", "2026-07-10T00:00:00Z", "2026-07-10T07:00:00Z");
  next_is("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z"); /* that hour is left out */
  next_is("0 0 * * *", "America/New_York", "2026-03-08T06:00:00Z", "2026-03-09T04:00:00Z");
  next_is("0 12 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T06:30:00Z");
  next_is("0 9 1 7 *", "Europe/Berlin", "2050-01-01T00:00:00Z", "2050-07-01T07:00:00Z"); /* by the rule at the end */
  next_is("0 9 1 1 *", "Australia/Sydney", "2050-06-01T00:00:00Z", "2050-12-31T22:00:00Z");
}

Test(cron, refuses) {
  static const char *const bad[] = {"",          "* * * *",     "60 * * * *",  "* * * * 8",
                                    "a * * * *", "5-1 * * * *", "*/0 * * * *", "* * * * * *",
                                    "@never",    "@every x"};
  schedule_t s;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) cr_assert(schedule_parse(bad[i], &s, NULL), "%s", bad[i]);
  cr_assert(zone_load("Nowhere/City", NULL) == NULL);
  cr_assert(zone_load("../../../etc/passwd", NULL) == NULL);
  cr_assert(zone_load("/etc/localtime", NULL) == NULL);
}

/* --- the controller ----------------------------------------------------------------------------------------------- */

static cluster_t *cluster(const char *spec) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-cronjob", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(
      c, CRONJOBS, NS,
      "{'metadata':{'name':'c'},'spec':{'schedule':'0 * * * *',%s'jobTemplate':{'metadata':{'labels':{'a':'b'}},'spec':"
      "{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}}}}",
      spec);
  return c;
}

/* As if the last job had been so many hours ago. */
static void due_since(cluster_t *c, int hours) {
  char text[32];
  kube_time_format(((int64_t)time(NULL) / 3600 - hours) * 3600 * 1000000, text);
  patch(c, CRONJOBS, NS, "c", "status", "{'status':{'lastScheduleTime':'%s'}}", text);
}

static char *only_job(cluster_t *c) {
  expect_count(c, JOBS, NS, NULL, 1);
  kg_msg_t *m = list(c, JOBS, NS, NULL);
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  return name;
}

static void finish_job(cluster_t *c, const char *name, const char *how) {
  patch(c, JOBS, NS, name, "status",
        "{'status':{'completionTime':'2026-01-01T00:00:00Z','startTime':'2026-01-01T00:00:00Z','conditions':[{'type':"
        "'SuccessCriteriaMet','status':'True'},{'type':'%s','status':'True'}]}}",
        how);
}

Test(cronjob, starts_the_last_job_missed) {
  cluster_t *c = cluster("");
  stays_count(c, JOBS, NS, NULL, 0, 100);
  due_since(c, 3);
  char *name = only_job(c), want[80];
  snprintf(want, sizeof want, "'c-%lld'", (long long)(time(NULL) / 3600 * 60));
  expect(c, JOBS, NS, name, "metadata>name", want);
  expect(c, JOBS, NS, name, "metadata>labels>a", "'b'");
  expect(c, JOBS, NS, name, "metadata>ownerReferences>0>kind", "'CronJob'");
  expect(c, CRONJOBS, NS, "c", "status>active>0>name", want);
  finish_job(c, name, "Complete");
  expect(c, CRONJOBS, NS, "c", "status>active", NULL);
  expect(c, CRONJOBS, NS, "c", "status>lastSuccessfulTime", "'2026-01-01T00:00:00Z'");
  expect_event(c, NS, "c", "SawCompletedJob", NULL);
  stays_count(c, JOBS, NS, NULL, 1, 100);
  free(name);
  cluster_free(c);
}

static void old_job(cluster_t *c) {
  kg_msg_t *m = fetch(c, CRONJOBS, NS, "c");
  kg_str_t uid = kube_uid(kg_view_of(kg_msg_doc(m, 0)));
  make(c, JOBS, NS,
       "{'metadata':{'name':'old','ownerReferences':[{'apiVersion':'batch/"
       "v1','kind':'CronJob','name':'c','uid':'" KG_STR_FMT
       "','controller':true}]},'spec':{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':"
       "'i'}]}}}}",
       KG_STR_ARG(uid));
  patch(c, CRONJOBS, NS, "c", "status", "{'status':{'active':[{'name':'old','namespace':'default','uid':'%s'}]}}", "x");
  kg_msg_unref(m);
}

static void mark_active(cluster_t *c) {
  kg_msg_t *m = fetch(c, JOBS, NS, "old");
  kg_str_t uid = kube_uid(kg_view_of(kg_msg_doc(m, 0)));
  char text[32];
  kube_time_format(((int64_t)time(NULL) / 3600 - 1) * 3600 * 1000000, text);
  patch(c, CRONJOBS, NS, "c", "status",
        "{'status':{'lastScheduleTime':'%s','active':[{'name':'old','namespace':'default','uid':'" KG_STR_FMT "'}]}}",
        text, KG_STR_ARG(uid));
  kg_msg_unref(m);
}

Test(cronjob, forbid_waits_for_the_last_one) {
  cluster_t *c = cluster("'concurrencyPolicy':'Forbid',");
  old_job(c);
  mark_active(c);
  expect_event(c, NS, "c", "JobAlreadyActive", NULL);
  stays_count(c, JOBS, NS, NULL, 1, 100);
  finish_job(c, "old", "Complete");
  expect_count(c, JOBS, NS, NULL, 2);
  cluster_free(c);
}

Test(cronjob, replace_takes_its_place) {
  cluster_t *c = cluster("'concurrencyPolicy':'Replace',");
  old_job(c);
  mark_active(c);
  expect_gone(c, JOBS, NS, "old");
  expect_count(c, JOBS, NS, NULL, 1);
  cluster_free(c);
}

Test(cronjob, rests_when_suspended_and_keeps_little_history) {
  cluster_t *c = cluster("'suspend':true,'failedJobsHistoryLimit':0,");
  old_job(c);
  due_since(c, 2);
  stays_count(c, JOBS, NS, NULL, 1, 100);
  finish_job(c, "old", "Failed");
  expect_gone(c, JOBS, NS, "old");
  cluster_free(c);
}

Test(cronjob, too_late_is_missed) {
  cluster_t *c = cluster("'startingDeadlineSeconds':1,");
  due_since(c, 2);
  stays_count(c, JOBS, NS, NULL, 0, 200);
  cluster_free(c);
}
