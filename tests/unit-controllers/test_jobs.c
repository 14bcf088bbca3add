#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define JOBS "batch/v1/jobs"

static cluster_t *cluster(void) {
  cluster_t *c =
      cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-job", "controller-gc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  return c;
}

static void job(cluster_t *c, const char *spec) {
  make(c, JOBS, NS,
       "{'metadata':{'name':'j'},'spec':{%s'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c',"
       "'image':'i'}]}}}}",
       spec);
}

/* Name of a pod that has not ended (of that index, -1: any); caller frees. NULL: none. */
static char *running(cluster_t *c, int index) {
  char want[16];
  snprintf(want, sizeof want, "%d", index);
  kg_msg_t *m = list(c, "v1/pods", NS, NULL);
  char *name = NULL;
  for (size_t i = 0; i < kg_msg_ndocs(m) && !name; i++) {
    kg_view_t v = kg_view_of(kg_msg_doc(m, i));
    kg_str_t phase = kg_view_str(at(v, "status>phase"));
    kg_str_t own = kg_view_str(at(v, "metadata>annotations>batch.kubernetes.io/job-completion-index"));
    bool ended = kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed") || kube_deleting(v);
    if (!ended && (index < 0 || kg_str_is(own, want))) name = kg_str_dup(kube_name(v));
  }
  kg_msg_unref(m);
  return name;
}

static char *wait_running(cluster_t *c, int index) {
  char *name = NULL;
  for (int i = 0; i < 500 && !(name = running(c, index)); i++) pause_ms(10);
  cr_assert(name, "no pod of index %d runs", index);
  return name;
}

static void finish(cluster_t *c, int index, const char *phase, int code) {
  char *name = wait_running(c, index);
  finish_pod(c, NS, name, phase, code);
  expect(c, "v1/pods", NS, name, "metadata>finalizers", NULL);
  free(name);
}

Test(job, runs_to_completion) {
  cluster_t *c = cluster();
  job(c, "'completions':3,'parallelism':2,");
  expect_count(c, "v1/pods", NS, NULL, 2);
  expect(c, JOBS, NS, "j", "status>active", "2");
  kubelet(c, NS);
  expect(c, JOBS, NS, "j", "status>ready", "2");
  char *name = wait_running(c, -1);
  expect(c, "v1/pods", NS, name, "metadata>finalizers>0", "'batch.kubernetes.io/job-tracking'");
  expect(c, "v1/pods", NS, name, "metadata>labels>job-name", "'j'");
  free(name);
  for (int i = 0; i < 3; i++) finish(c, -1, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>conditions>type=Complete>status", "'True'");
  expect(c, JOBS, NS, "j", "status>conditions>type=SuccessCriteriaMet>reason", "'CompletionsReached'");
  expect(c, JOBS, NS, "j", "status>succeeded", "3");
  expect(c, JOBS, NS, "j", "status>active", NULL);
  expect(c, JOBS, NS, "j", "status>uncountedTerminatedPods", "{}");
  expect_event(c, NS, "j", "Completed", "Job completed");
  stays_count(c, "v1/pods", NS, NULL, 3, 200);
  cluster_free(c);
}

Test(job, gives_up_after_failures) {
  cluster_t *c = cluster();
  job(c, "'backoffLimit':1,");
  finish(c, -1, "Failed", 1);
  expect(c, JOBS, NS, "j", "status>failed", "1");
  finish(c, -1, "Failed", 1);
  expect(c, JOBS, NS, "j", "status>conditions>type=Failed>reason", "'BackoffLimitExceeded'");
  expect(c, JOBS, NS, "j", "status>conditions>type=FailureTarget>message",
         "'Job has reached the specified backoff limit'");
  expect(c, JOBS, NS, "j", "status>failed", "2");
  expect(c, JOBS, NS, "j", "status>completionTime", NULL);
  expect_event(c, NS, "j", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
  cluster_free(c);
}

Test(job, indexed) {
  cluster_t *c = cluster();
  job(c, "'completions':4,'parallelism':4,'completionMode':'Indexed',");
  expect_count(c, "v1/pods", NS, NULL, 4);
  char *name = wait_running(c, 2);
  cr_assert(!strncmp(name, "j-2-", 4), "%s", name);
  expect(c, "v1/pods", NS, name, "spec>hostname", "'j-2'");
  expect(c, "v1/pods", NS, name, "metadata>labels>batch.kubernetes.io/job-completion-index", "'2'");
  kg_msg_t *m = fetch(c, "v1/pods", NS, name);
  kg_view_t env = at(kg_view_of(kg_msg_doc(m, 0)), "spec>containers>0>env>name=JOB_COMPLETION_INDEX");
  cr_assert(kg_str_is(kg_view_str(at(env, "valueFrom>fieldRef>fieldPath")),
                      "metadata.labels['batch.kubernetes.io/job-completion-index']"));
  kg_msg_unref(m);
  free(name);
  finish(c, 0, "Succeeded", 0);
  finish(c, 2, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>completedIndexes", "'0,2'");
  finish(c, 3, "Failed", 1);
  finish(c, 3, "Succeeded", 0);
  finish(c, 1, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>completedIndexes", "'0-3'");
  expect(c, JOBS, NS, "j", "status>conditions>type=Complete>status", "'True'");
  expect(c, JOBS, NS, "j", "status>succeeded", "4");
  expect(c, JOBS, NS, "j", "status>failed", "1");
  cluster_free(c);
}

Test(job, backoff_per_index) {
  cluster_t *c = cluster();
  job(c, "'completions':3,'parallelism':3,'completionMode':'Indexed','backoffLimitPerIndex':1,'maxFailedIndexes':3,");
  finish(c, 1, "Failed", 1);
  char *name = wait_running(c, 1);
  expect(c, "v1/pods", NS, name, "metadata>annotations>batch.kubernetes.io/job-index-failure-count", "'1'");
  free(name);
  finish(c, 1, "Failed", 1);
  expect(c, JOBS, NS, "j", "status>failedIndexes", "'1'");
  finish(c, 0, "Succeeded", 0);
  finish(c, 2, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>conditions>type=Failed>reason", "'FailedIndexes'");
  expect(c, JOBS, NS, "j", "status>completedIndexes", "'0,2'");
  cluster_free(c);
}

Test(job, pod_failure_policy) {
  cluster_t *c = cluster();
  job(c, "'backoffLimit':0,'parallelism':2,'completions':2,'podFailurePolicy':{'rules':[{'action':'Ignore',"
         "'onExitCodes':{'operator':'In','values':[5]}},{'action':'FailJob','onExitCodes':{'containerName':'c',"
         "'operator':'In','values':[42]}}]},");
  finish(c, -1, "Failed", 5);
  expect_count(c, "v1/pods", NS, NULL, 3);
  expect(c, JOBS, NS, "j", "status>failed", NULL);
  char *name = wait_running(c, -1);
  char want[256];
  snprintf(want, sizeof want,
           "'Container c for pod default/%s failed with exit code 42 matching FailJob rule at index 1'", name);
  finish_pod(c, NS, name, "Failed", 42);
  expect(c, JOBS, NS, "j", "status>conditions>type=FailureTarget>message", want);
  settle(c, JOBS, NS, "j", "status>conditions>type=Failed>reason", "'PodFailurePolicy'");
  free(name);
  cluster_free(c);
}

Test(job, success_policy) {
  cluster_t *c = cluster();
  job(c, "'completions':3,'parallelism':3,'completionMode':'Indexed','successPolicy':{'rules':[{'succeededIndexes':"
         "'0','succeededCount':1}]},");
  finish(c, 0, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>conditions>type=Complete>reason", "'SuccessPolicy'");
  expect(c, JOBS, NS, "j", "status>conditions>type=SuccessCriteriaMet>message", "'Matched rules at index 0'");
  expect_count(c, "v1/pods", NS, NULL, 1);
  cluster_free(c);
}

Test(job, suspend_and_resume) {
  cluster_t *c = cluster();
  job(c, "'suspend':true,");
  expect(c, JOBS, NS, "j", "status>conditions>type=Suspended>status", "'True'");
  expect(c, JOBS, NS, "j", "status>startTime", NULL);
  stays_count(c, "v1/pods", NS, NULL, 0, 100);
  patch(
      c, JOBS, NS, "j", NULL, /* a queue says where it shall run */
      "{'spec':{'suspend':false,'template':{'metadata':{'annotations':{'a':'b'}},'spec':{'nodeSelector':{'x':'y'}}}}}");
  expect_count(c, "v1/pods", NS, NULL, 1);
  char *name = wait_running(c, -1);
  expect(c, "v1/pods", NS, name, "spec>nodeSelector>x", "'y'");
  free(name);
  expect(c, JOBS, NS, "j", "status>conditions>type=Suspended>reason", "'JobResumed'");
  patch(c, JOBS, NS, "j", NULL, "{'spec':{'suspend':true}}");
  expect_count(c, "v1/pods", NS, NULL, 0);
  expect_event(c, NS, "j", "Suspended", "Job suspended");
  expect_event(c, NS, "j", "Resumed", "Job resumed");
  cluster_free(c);
}

/* Pods that the controller itself takes away have not failed. */
Test(job, pods_taken_away_do_not_count) {
  cluster_t *c = cluster();
  job(c, "'parallelism':4,'completions':4,'backoffLimit':0,");
  expect_count(c, "v1/pods", NS, NULL, 4);
  settle(c, JOBS, NS, "j", "status>ready", "4");
  patch(c, JOBS, NS, "j", NULL, "{'spec':{'parallelism':2}}");
  expect(c, JOBS, NS, "j", "status>active", "2");
  settle(c, JOBS, NS, "j", "status>terminating", "0");
  patch(c, JOBS, NS, "j", NULL, "{'spec':{'suspend':true}}");
  expect(c, JOBS, NS, "j", "status>conditions>type=Suspended>status", "'True'");
  settle(c, JOBS, NS, "j", "status>terminating", "0");
  expect_count(c, "v1/pods", NS, NULL, 0);
  patch(c, JOBS, NS, "j", NULL, "{'spec':{'suspend':false}}");
  expect(c, JOBS, NS, "j", "status>active", "2");
  expect(c, JOBS, NS, "j", "status>failed", NULL);
  expect(c, JOBS, NS, "j", "status>conditions>type=Failed", NULL);
  cluster_free(c);
}

/* An elastic indexed job loses the indexes beyond; a failed pod keeps its count until the next one of its index is
 * there, whoever deletes it. */
Test(job, indexes_keep_their_failures) {
  cluster_t *c = cluster();
  job(c, "'completions':3,'parallelism':3,'completionMode':'Indexed','backoffLimitPerIndex':1,");
  expect_count(c, "v1/pods", NS, NULL, 3);
  settle(c, JOBS, NS, "j", "status>ready", "3");
  patch(c, JOBS, NS, "j", NULL, "{'spec':{'parallelism':2,'completions':2}}");
  expect(c, JOBS, NS, "j", "status>active", "2");
  settle(c, JOBS, NS, "j", "status>terminating", "0");
  expect(c, JOBS, NS, "j", "status>failed", NULL);
  char *name = wait_running(c, 1);
  del(c, "v1/pods", NS, name, NULL);
  free(name);
  settle(c, JOBS, NS, "j", "status>failed", "1");
  name = wait_running(c, 1);
  expect(c, "v1/pods", NS, name, "metadata>annotations>batch.kubernetes.io/job-index-failure-count", "'1'");
  free(name);
  cluster_free(c);
}

Test(job, deadline) {
  cluster_t *c = cluster();
  job(c, "'activeDeadlineSeconds':1,");
  expect_count(c, "v1/pods", NS, NULL, 1);
  expect(c, JOBS, NS, "j", "status>conditions>type=Failed>reason", "'DeadlineExceeded'");
  expect_count(c, "v1/pods", NS, NULL, 0);
  cluster_free(c);
}

Test(job, goes_when_its_time_is_over) {
  cluster_t *c = cluster();
  job(c, "'ttlSecondsAfterFinished':1,");
  finish(c, -1, "Succeeded", 0);
  expect(c, JOBS, NS, "j", "status>conditions>type=Complete>status", "'True'");
  expect_gone(c, JOBS, NS, "j");
  expect_count(c, "v1/pods", NS, NULL, 0);
  cluster_free(c);
}

Test(job, pods_are_let_go_with_their_job) {
  cluster_t *c = cluster();
  job(c, "'parallelism':2,");
  expect_count(c, "v1/pods", NS, NULL, 2);
  del(c, JOBS, NS, "j", "Background");
  expect_count(c, "v1/pods", NS, NULL, 0);
  cluster_free(c);
}

Test(job, adopts_and_releases) {
  cluster_t *c = cluster();
  job(c, "");
  char *name = wait_running(c, -1);
  patch(c, "v1/pods", NS, name, NULL, "{'metadata':{'ownerReferences':null}}");
  expect(c, "v1/pods", NS, name, "metadata>ownerReferences>0>kind", "'Job'");
  patch(c, "v1/pods", NS, name, NULL,
        "{'metadata':{'labels':{'controller-uid':'x','batch.kubernetes.io/controller-uid':'x'}}}");
  expect(c, "v1/pods", NS, name, "metadata>ownerReferences", NULL);
  expect(c, "v1/pods", NS, name, "metadata>finalizers", NULL);
  expect_count(c, "v1/pods", NS, NULL, 2);
  free(name);
  cluster_free(c);
}

static int try_job(cluster_t *c, const char *name, const char *spec) {
  char doc[2000];
  snprintf(
      doc, sizeof doc,
      "{'metadata':{'name':'%s'},'spec':{'suspend':true,%s,'template':{'spec':{'restartPolicy':'Never','containers':"
      "[{'name':'c','image':'i'}]}}}}",
      name, spec);
  return post_sub(c, JOBS, NS, NULL, "", doc);
}

Test(job, policies_that_make_no_sense_are_refused) {
  static const char *const bad[] = {
      "'podFailurePolicy':{'rules':[{'action':'Foo','onExitCodes':{'operator':'In','values':[1]}}]}",
      "'podFailurePolicy':{'rules':[{'action':'FailIndex','onExitCodes':{'operator':'In','values':[1]}}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore'}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{'operator':'In','values':[0]}}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{'operator':'In','values':[2,1]}}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{'operator':'In','values':[1,1]}}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{'operator':'In','values':[1],'containerName':'x'}"
      "}]}",
      "'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':'A b'}]}]}",
      "'podReplacementPolicy':'TerminatingOrFailed','podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{"
      "'operator':'In','values':[1]}}]}",
      "'backoffLimitPerIndex':1",
      "'completionMode':'Indexed','completions':3,'maxFailedIndexes':1",
      "'completionMode':'Indexed','completions':3,'backoffLimitPerIndex':1,'maxFailedIndexes':4",
      "'completionMode':'Indexed','completions':3,'parallelism':100001",
      "'successPolicy':{'rules':[{'succeededCount':1}]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{}]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{'succeededIndexes':'0-3'}]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{'succeededIndexes':'2,1'}]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{'succeededIndexes':'a'}]}",
      "'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{'succeededIndexes':'0,2','succeededCount':"
      "3}]}"};
  static const char *const good[] = {"'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':'"
                                     "DisruptionTarget'}]},{'action':'FailJob',"
                                     "'onExitCodes':{'operator':'NotIn','containerName':'c','values':[0,3,40]}}]}",
                                     "'completionMode':'Indexed','completions':5,'backoffLimitPerIndex':1,'"
                                     "maxFailedIndexes':5,'podFailurePolicy':{'rules'"
                                     ":[{'action':'FailIndex','onExitCodes':{'operator':'In','values':[1]}}]}",
                                     "'completionMode':'Indexed','completions':5,'successPolicy':{'rules':[{'"
                                     "succeededIndexes':'0-2,4','succeededCount':4},"
                                     "{'succeededCount':5}]}"};
  cluster_t *c = cluster();
  char name[16];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    cr_assert(try_job(c, "bad", bad[i]) == 422, "%d of %s", try_job(c, "bad", bad[i]), bad[i]);
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    snprintf(name, sizeof name, "good%zu", i);
    int code = try_job(c, name, good[i]);
    cr_assert(code == 201, "%d of %s", code, good[i]);
  }
  cluster_free(c);
}
