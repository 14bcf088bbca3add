/* Volumes behind claims: what is waited for, what the runtime is told to mount, and that the data stays. The test is
 * the controller that binds. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "kube/values.h"
#include "world.h"

#define COLLECTION(r) "{\"g\":\"\",\"v\":\"v1\",\"r\":\"" r "\",\"ns\":\"\"}"
#define CLAIM_D "{\"g\":\"\",\"v\":\"v1\",\"r\":\"persistentvolumeclaims\",\"ns\":\"default\",\"name\":\"d\"}"

/* A call whose arguments and document are written with ' for ". */
static void tell(world_t *w, const char *topic, const char *args, const char *fmt, ...) KG_PRINTF(4, 5);
static void tell(world_t *w, const char *topic, const char *args, const char *fmt, ...) {
  char doc[3000], with[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(doc, sizeof doc, fmt, ap);
  va_end(ap);
  snprintf(with, sizeof with, "%s", args);
  for (char *c = doc; (c = strchr(c, '\''));) *c = '"';
  for (char *c = with; (c = strchr(c, '\''));) *c = '"';
  must(w, topic, with, doc);
}

static void make_claim(world_t *w, const char *name) {
  tell(w, "api.create", "{'g':'','v':'v1','r':'persistentvolumeclaims','ns':'default'}",
       "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'%s'},'spec':{'storageClassName':'x',"
       "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}",
       name);
}

/* source: of the spec, with more of it perhaps. */
static void make_volume(world_t *w, const char *name, const char *source) {
  tell(w, "api.create", "{'g':'','v':'v1','r':'persistentvolumes'}",
       "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'%s'},'spec':{'storageClassName':'x',"
       "'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],%s}}",
       name, source);
}

static void get_uid(world_t *w, const char *args, char uid[64]) {
  kg_doc_t *doc = get_object(w, args);
  snprintf(uid, 64, KG_STR_FMT, KG_STR_ARG(kube_uid(kg_view_of(doc))));
  kg_doc_unref(doc);
}

static void bind(world_t *w, const char *claim, const char *volume) {
  char args[300], uid[64];
  snprintf(args, sizeof args,
           "{\"g\":\"\",\"v\":\"v1\",\"r\":\"persistentvolumeclaims\",\"ns\":\"default\",\"name\":\"%s\"}", claim);
  get_uid(w, args, uid);
  snprintf(args, sizeof args, "{'g':'','v':'v1','r':'persistentvolumes','name':'%s','patch':'merge'}", volume);
  tell(w, "api.patch", args, "{'spec':{'claimRef':{'namespace':'default','name':'%s','uid':'%s'}}}", claim, uid);
  snprintf(args, sizeof args,
           "{'g':'','v':'v1','r':'persistentvolumeclaims','ns':'default','name':'%s','patch':'merge'}", claim);
  tell(w, "api.patch", args, "{'spec':{'volumeName':'%s'}}", volume);
  snprintf(args, sizeof args,
           "{'g':'','v':'v1','r':'persistentvolumeclaims','ns':'default','name':'%s','sub':'status','patch':'merge'}",
           claim);
  tell(w, "api.patch", args, "{'status':{'phase':'Bound'}}");
}

static void run_pod(world_t *w, const char *how, const char *mounts, const char *source) {
  char spec[1500];
  snprintf(spec, sizeof spec,
           "'containers':[{'name':'c','image':'here','command':['run'],'%s':[%s]}],'volumes':[{'name':'v',%s}]", how,
           mounts, source);
  for (char *c = spec; (c = strchr(c, '\''));) *c = '"';
  create_pod(w, "p", spec);
}

#define OF_CLAIM "'persistentVolumeClaim':{'claimName':'d'}"
#define MOUNT "{'name':'v','mountPath':'/v'}"
#define STUCK                                                                                                          \
  "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: "   \
  "error processing PVC default/d: "

/* Of the n-th container of c: where the host has /v. */
static kg_doc_t *mount_at(const char *path, const char *box, kg_view_t *mount) {
  kg_doc_t *args = NULL;
  for (int i = 0; i < 500 && !(args = fake_args("runtime.container.create", box)); i++) usleep(10000);
  cr_assert(args, "no container was made");
  *mount = kube_list_find(kg_view_get(kg_view_of(args), "mounts"), "path", kg_str(path));
  cr_assert(kg_view_there(*mount), "nothing is mounted at %s", path);
  return args;
}

static void expect_mount(const char *path, const char *host, bool read_only) {
  kg_view_t mount;
  kg_doc_t *keep = mount_at(path, "-c-0", &mount);
  cr_text(kg_view_get(mount, "hostPath"), host);
  cr_assert_eq(kg_view_bool(kg_view_get(mount, "readOnly"), false), read_only);
  kg_doc_unref(keep);
}

static void end_pod(world_t *w) {
  must(w, "api.delete", POD_ARGS("p"), NULL);
  expect_object(w, POD_ARGS("p"), NULL);
}

static void put(const char *dir, const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  cr_assert(f && fputs("kept", f) >= 0 && !fclose(f));
}

static bool kept(const char *dir, const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return !access(path, F_OK);
}

Test(claims, waits_in_the_kubelets_words_until_it_is_bound_and_the_data_stays) {
  world_t w;
  char dir[128], source[300];
  begin(&w);
  snprintf(dir, sizeof dir, "%s/data", w.dir);
  run_pod(&w, "volumeMounts", MOUNT ",{'name':'v','mountPath':'/s','subPath':'sub'}", OF_CLAIM);
  expect_event(&w, "FailedMount", STUCK "failed to fetch PVC from API server: persistentvolumeclaims \"d\" not found");
  make_claim(&w, "d");
  expect_event(&w, "FailedMount", STUCK "PVC is not bound");
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 0);
  snprintf(source, sizeof source, "'hostPath':{'path':'%s','type':'DirectoryOrCreate'}", dir);
  make_volume(&w, "pv", source);
  bind(&w, "d", "pv");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  expect_mount("/v", dir, false);
  put(dir, "file");
  end_pod(&w);
  run_pod(&w, "volumeMounts", MOUNT, "'persistentVolumeClaim':{'claimName':'d','readOnly':true}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  expect_mount("/v", dir, true);
  cr_assert(kept(dir, "file") && kept(dir, "sub"));
  end_pod(&w);
  cr_assert(kept(dir, "file"));
  finish(&w);
}

static void expect_group(const char *path, gid_t gid, mode_t mode) {
  struct stat st;
  cr_assert(!lstat(path, &st) && st.st_gid == gid, "%s: %d", path, (int)st.st_gid);
  cr_assert(S_ISLNK(st.st_mode) || (st.st_mode & 07777) == mode, "%s: %o", path, st.st_mode);
}

Test(claims, a_local_volume_becomes_the_groups_with_all_that_is_in_it) {
  world_t w;
  char dir[128], path[300], outside[128], source[300];
  begin(&w);
  snprintf(dir, sizeof dir, "%s/disk", w.dir);
  snprintf(outside, sizeof outside, "%s/outside", w.dir);
  snprintf(path, sizeof path, "mkdir -p %s/a/b && cd %s/a/b && seq 5000 | xargs touch && touch %s && ln -s %s link",
           dir, dir, outside, outside);
  cr_assert(!system(path));
  chmod(outside, 0600);
  make_claim(&w, "d");
  snprintf(source, sizeof source,
           "'local':{'path':'%s'},'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"
           "'kubernetes.io/hostname','operator':'In','values':['n1']}]}]}}",
           dir);
  make_volume(&w, "pv", source);
  bind(&w, "d", "pv");
  run_pod(&w, "volumeMounts", MOUNT,
          OF_CLAIM "}],'securityContext':{'fsGroup':4321},'tolerations':[{'operator':'Exists'");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  expect_group(dir, 4321, 02775);
  expect_group(strcat(strcpy(path, dir), "/a/b"), 4321, 02775);
  expect_group(strcat(path, "/4999"), 4321, 0664);
  expect_group(strcat(strcpy(path, dir), "/a/b/link"), 4321, 0);
  expect_group(outside, getegid(), 0600);
  finish(&w);
}

Test(claims, a_local_volume_is_there_already_and_of_this_node) {
  world_t w;
  char dir[128], source[600];
  begin(&w);
  snprintf(dir, sizeof dir, "%s/disk", w.dir);
  make_claim(&w, "d");
  snprintf(source, sizeof source,
           "'local':{'path':'%s'},'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"
           "'kubernetes.io/hostname','operator':'In','values':['n1']}]}]}}",
           dir);
  make_volume(&w, "pv", source);
  bind(&w, "d", "pv");
  run_pod(&w, "volumeMounts", MOUNT, OF_CLAIM);
  char words[300];
  snprintf(words, sizeof words,
           "MountVolume.NewMounter initialization failed for volume \"pv\" : path \"%s\" does not exist", dir);
  expect_event(&w, "FailedMount", words);
  cr_assert_eq(mkdir(dir, 0755), 0);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  expect_mount("/v", dir, false);
  put(dir, "file");
  end_pod(&w);
  cr_assert(kept(dir, "file"));
  finish(&w);
}

static void refused(const char *source, const char *how, const char *mount, const char *words) {
  world_t w;
  begin(&w);
  make_claim(&w, "d");
  make_volume(&w, "pv", source);
  bind(&w, "d", "pv");
  run_pod(&w, how, mount, OF_CLAIM);
  expect_event(&w, "FailedMount", words);
  cr_assert_eq(fake_calls("runtime.container.create", NULL), 0);
  finish(&w);
}

Test(claims, what_this_node_cannot_mount_is_said) {
  refused("'nfs':{'server':'s','path':'/'}", "volumeMounts", MOUNT,
          "MountVolume.SetUp failed for volume \"pv\" : this node has no volume plugin for nfs");
  refused("'hostPath':{'path':'/tmp'},'mountOptions':['ro']", "volumeMounts", MOUNT,
          "MountVolume.MountOptionSupport check failed for volume \"pv\" : Mount options are not supported for this "
          "volume type");
  refused("'local':{'path':'/tmp'},'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"
          "'kubernetes.io/hostname','operator':'In','values':['elsewhere']}]}]}}",
          "volumeMounts", MOUNT,
          "MountVolume.NodeAffinity check failed for volume \"pv\" : no matching NodeSelectorTerms");
  refused("'hostPath':{'path':'/tmp'}", "volumeDevices", "{'name':'v','devicePath':'/dev/x'}",
          STUCK "volume v has volumeMode Filesystem, but is specified in volumeDevices");
}

Test(claims, an_ephemeral_one_is_the_pods_own) {
  world_t w;
  begin(&w);
  make_claim(&w, "p-v");
  make_volume(&w, "pv", "'hostPath':{'path':'/tmp'}");
  bind(&w, "p-v", "pv");
  run_pod(&w, "volumeMounts", MOUNT,
          "'ephemeral':{'volumeClaimTemplate':{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{"
          "'storage':'1Gi'}}}}}");
  expect_event(
      &w, "FailedMount",
      "error processing PVC default/p-v: PVC default/p-v was not created for pod default/p (pod is not owner)");
  finish(&w);
}

Test(claims, a_successor_of_the_agent_finds_it_again) {
  world_t w;
  begin(&w);
  make_claim(&w, "d");
  make_volume(&w, "pv", "'hostPath':{'path':'/tmp'}");
  bind(&w, "d", "pv");
  run_pod(&w, "volumeMounts", MOUNT, OF_CLAIM);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  must(&w, "api.delete", CLAIM_D, NULL); /* it is in use: it stays, deleted */
  kg_error_t err = {0};
  cr_assert(kg_kernel_unload(driver_kernel(w.d), "node", &err) == 0, "%s", err.text);
  driver_load(w.d, "node", "node.so", NODE);
  usleep(500000); /* it has taken the pod over */
  fake_forget();
  cr_assert(kg_kernel_swap(driver_kernel(w.d), "runtime", NULL, &fake_runtime, NULL, &err) == 0, "%s", err.text);
  kg_view_t mount;
  kg_doc_unref(mount_at("/v", "-c-1", &mount));
  finish(&w);
}
