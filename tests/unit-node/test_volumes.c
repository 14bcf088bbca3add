/* Volumes as files on a real disk, and what the runtime is told to mount. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

#define TMPFS_NUMBER 0x01021994

static const char *const CONFIGMAPS = "{\"g\":\"\",\"v\":\"v1\",\"r\":\"configmaps\",\"ns\":\"default\"}";
static const char *const MAP_M = "{\"g\":\"\",\"v\":\"v1\",\"r\":\"configmaps\",\"ns\":\"default\",\"name\":\"m\"}";

/* A running pod of one container with these mounts and volumes; and "more" of the spec, with a comma at its end. */
static void run_pod(world_t *w, const char *more, const char *env, const char *mounts, const char *volumes) {
  char spec[3000];
  snprintf(
      spec, sizeof spec,
      "%s\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"env\":[%s],\"volumeMounts\":[%s]}"
      "],\"volumes\":[%s]",
      more, env, mounts, volumes);
  create_pod(w, "p", spec);
}

/* Where the host has what the container sees at `path`; the mount itself in *mount if it is not NULL. */
static char *host_path(const char *path, kg_view_t *mount, kg_doc_t **keep) {
  char *found = NULL;
  kg_doc_t *args = NULL;
  for (int i = 0; i < 500 && !(args = fake_args("runtime.container.create", "-c-0")); i++) usleep(10000);
  cr_assert(args, "no container was made");
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(args), "mounts")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "path")), path)) {
      free(found);
      found = kg_str_dup(kg_view_str(kg_view_get(it.value, "hostPath")));
      if (mount) *mount = it.value;
    }
  cr_assert(found, "nothing is mounted at %s", path);
  if (keep)
    *keep = args;
  else
    kg_doc_unref(args);
  return found;
}

static char *read_in(const char *dir, const char *name) {
  char path[512], *text = calloc(1, 65536);
  snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
  FILE *f = fopen(path, "r");
  if (f) {
    text[fread(text, 1, 65535, f)] = 0;
    fclose(f);
  } else
    strcpy(text, "(no file)");
  return text;
}

static void has(const char *dir, const char *name, const char *wanted) {
  char *text = NULL;
  for (int i = 0; i < 300; i++) {
    free(text);
    if (!strcmp(text = read_in(dir, name), wanted)) break;
    usleep(10000);
  }
  cr_assert_str_eq(text, wanted, "%s/%s: %s", dir, name, text);
  free(text);
}

static mode_t mode_of(const char *dir, const char *name) {
  char path[512];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return stat(path, &st) ? 0 : st.st_mode & 07777;
}

static bool exists(const char *dir, const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return !access(path, F_OK);
}

static void end_pod(world_t *w) {
  must(w, "api.delete", POD_ARGS("p"), NULL);
  expect_object(w, POD_ARGS("p"), NULL);
}

static void vanishes(const char *path) {
  for (int i = 0; i < 300 && !access(path, F_OK); i++) usleep(10000);
  cr_assert(access(path, F_OK), "%s is still there", path);
}

Test(volumes, empty_dirs_on_disk_and_in_memory) {
  world_t w;
  begin(&w);
  run_pod(
      &w, "\"securityContext\":{\"fsGroup\":1234},", "",
      "{\"name\":\"d\",\"mountPath\":\"/d\"},{\"name\":\"m\",\"mountPath\":\"/m\"}",
      "{\"name\":\"d\",\"emptyDir\":{}},{\"name\":\"m\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"8Mi\"}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  char *disk = host_path("/d", NULL, NULL), *memory = host_path("/m", NULL, NULL);
  struct statfs fs;
  struct stat st;
  cr_assert(!statfs(memory, &fs) && fs.f_type == TMPFS_NUMBER);
  cr_assert_eq((long long)fs.f_blocks * fs.f_bsize, 8 << 20);
  cr_assert(!statfs(disk, &fs) && fs.f_type != TMPFS_NUMBER);
  cr_assert(!stat(disk, &st) && st.st_gid == 1234 && (st.st_mode & 07777) == 02777);
  cr_assert(!stat(memory, &st) && st.st_gid == 1234 && (st.st_mode & 07777) == 03777);
  end_pod(&w);
  vanishes(disk);
  vanishes(memory);
  free(disk);
  free(memory);
  finish(&w);
}

Test(volumes, config_maps_change_all_at_once_under_a_running_pod) {
  world_t w;
  begin(&w);
  must(&w, "api.create", CONFIGMAPS,
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"a\":\"1\",\"b\":\"x\"},"
       "\"binaryData\":{\"bin\":\"AAEC\"}}");
  run_pod(&w, "", "",
          "{\"name\":\"v\",\"mountPath\":\"/v\"},{\"name\":\"i\",\"mountPath\":\"/i\"},{\"name\":\"v\",\"mountPath\":"
          "\"/one\",\"subPath\":\"a\"}",
          "{\"name\":\"v\",\"configMap\":{\"name\":\"m\",\"defaultMode\":416}},{\"name\":\"i\",\"configMap\":{\"name\":"
          "\"m\",\"items\":[{\"key\":\"b\",\"path\":\"sub/dir/B\",\"mode\":256}]}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  kg_view_t mount;
  kg_doc_t *keep;
  char *v = host_path("/v", &mount, &keep), *i = host_path("/i", NULL, NULL), *one = host_path("/one", NULL, NULL);
  char bin[512], link[64] = "";
  struct stat st;
  cr_assert(kg_view_bool(kg_view_get(mount, "readOnly"), false), "containers may not change it");
  kg_doc_unref(keep);
  has(v, "a", "1");
  has(i, "sub/dir/B", "x");
  has(one, "", "1");
  cr_assert_eq(mode_of(v, "a"), 0640);
  cr_assert_eq(mode_of(i, "sub/dir/B"), 0400);
  cr_assert(!exists(i, "a"));
  snprintf(bin, sizeof bin, "%s/bin", v);
  cr_assert(!stat(bin, &st) && st.st_size == 3);
  snprintf(bin, sizeof bin, "%s/a", v);
  cr_assert(readlink(bin, link, sizeof link) > 0 && !strcmp(link, "..data/a"));
  must(&w, "api.update", MAP_M,
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"b\":\"y\",\"c\":\"2\"}"
       "}");
  has(v, "c", "2");
  has(v, "b", "y");
  cr_assert(!exists(v, "a"));
  has(i, "sub/dir/B", "y");
  has(one, "", "1"); /* a subPath stays what it was */
  end_pod(&w);
  vanishes(v);
  free(v), free(i), free(one);
  finish(&w);
}

Test(volumes, missing_sources_are_waited_for_with_the_kubelets_words) {
  world_t w;
  begin(&w);
  run_pod(
      &w, "", "", "{\"name\":\"v\",\"mountPath\":\"/v\"},{\"name\":\"o\",\"mountPath\":\"/o\"}",
      "{\"name\":\"v\",\"configMap\":{\"name\":\"m\"}},{\"name\":\"o\",\"configMap\":{\"name\":\"never\",\"optional\":"
      "true}},{\"name\":\"unused\",\"secret\":{\"secretName\":\"nowhere\"}}");
  expect_event(&w, "FailedMount", "MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found");
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 0);
  must(&w, "api.create", CONFIGMAPS,
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"a\":\"1\"}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  char *v = host_path("/v", NULL, NULL);
  has(v, "a", "1");
  free(v);
  finish(&w);
}

Test(volumes, secrets_and_the_downward_api_never_touch_the_disk) {
  world_t w;
  begin(&w);
  must(&w, "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"secrets\",\"ns\":\"default\"}",
       "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"},\"data\":{\"key\":\"aGVsbG8=\"}}");
  run_pod(
      &w, "", "", "{\"name\":\"s\",\"mountPath\":\"/s\"},{\"name\":\"all\",\"mountPath\":\"/all\"}",
      "{\"name\":\"s\",\"secret\":{\"secretName\":\"s\"}},{\"name\":\"all\",\"projected\":{\"sources\":[{\"secret\":{"
      "\"name\":\"s\",\"items\":[{\"key\":\"key\",\"path\":\"k\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":\"name\","
      "\"fieldRef\":{\"fieldPath\":\"metadata.name\"}},{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":"
      "\"metadata.labels\"}},{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":"
      "\"requests.cpu\"}}]}}]}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  char *s = host_path("/s", NULL, NULL), *all = host_path("/all", NULL, NULL), top[128];
  struct statfs fs;
  cr_assert(!statfs(s, &fs) && fs.f_type == TMPFS_NUMBER);
  cr_assert(!statfs(all, &fs) && fs.f_type == TMPFS_NUMBER);
  has(s, "key", "hello");
  has(all, "k", "hello");
  has(all, "name", "p");
  has(all, "cpu", "0");
  must(&w, "api.patch",
       "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"p\",\"patch\":\"merge\"}",
       "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
  has(all, "labels", "a=\"b\"");
  end_pod(&w);
  vanishes(s);
  snprintf(top, sizeof top, "%s/pod-secrets", w.dir);
  vanishes(top);
  free(s), free(all);
  finish(&w);
}

Test(volumes, host_paths_are_what_their_type_says) {
  world_t w;
  char volumes[1024];
  begin(&w);
  snprintf(
      volumes, sizeof volumes,
      "{\"name\":\"d\",\"hostPath\":{\"path\":\"%s/made/dir\",\"type\":\"DirectoryOrCreate\"}},{\"name\":\"f\","
      "\"hostPath\":{\"path\":\"%s/made2/file\",\"type\":\"FileOrCreate\"}},{\"name\":\"n\",\"hostPath\":{\"path\":"
      "\"/dev/null\",\"type\":\"CharDevice\"}}",
      w.dir, w.dir);
  run_pod(
      &w, "", "",
      "{\"name\":\"d\",\"mountPath\":\"/d\",\"mountPropagation\":\"Bidirectional\",\"readOnly\":true},{\"name\":\"f\","
      "\"mountPath\":\"/f\"},{\"name\":\"n\",\"mountPath\":\"/n\"}",
      volumes);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  kg_view_t mount;
  kg_doc_t *keep;
  char *d = host_path("/d", &mount, &keep);
  cr_text(kg_view_get(mount, "propagation"), "Bidirectional");
  cr_assert(kg_view_bool(kg_view_get(mount, "readOnly"), false));
  cr_assert(exists(w.dir, "made/dir") && exists(w.dir, "made2/file"));
  kg_doc_unref(keep);
  end_pod(&w);
  cr_assert(exists(w.dir, "made/dir"), "the host's files are not ours to remove");
  free(d);
  run_pod(&w, "", "", "{\"name\":\"d\",\"mountPath\":\"/d\"}",
          "{\"name\":\"d\",\"hostPath\":{\"path\":\"/dev/null\",\"type\":\"Directory\"}}");
  expect_event(&w, "FailedMount", "hostPath type check failed: /dev/null is not a directory");
  finish(&w);
}

Test(volumes, sub_paths_stay_within_their_volume) {
  world_t w;
  char command[512];
  begin(&w);
  run_pod(&w, "", "{\"name\":\"N\",\"value\":\"in\"}",
          "{\"name\":\"d\",\"mountPath\":\"/d\"},{\"name\":\"d\",\"mountPath\":\"/e\",\"subPathExpr\":\"$(N)/deep\"}",
          "{\"name\":\"d\",\"emptyDir\":{}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  char *d = host_path("/d", NULL, NULL), *e = host_path("/e", NULL, NULL), path[512];
  cr_assert(exists(d, "in/deep"));
  cr_assert_eq(mode_of(d, "in"), 0777);
  snprintf(path, sizeof path, "%s/file", e);
  fclose(fopen(path, "w"));
  cr_assert(exists(d, "in/deep/file"), "it is the same directory");
  /* What a container mounted below its volume is taken off, never emptied. */
  snprintf(command, sizeof command, "mkdir -p %s/kept %s/in/trap && touch %s/kept/x", w.dir, d, w.dir);
  cr_assert_eq(system(command), 0);
  snprintf(path, sizeof path, "%s/in/trap", d);
  snprintf(command, sizeof command, "%s/kept", w.dir);
  cr_assert(!mount(command, path, NULL, MS_BIND, NULL));
  end_pod(&w);
  vanishes(d);
  cr_assert(exists(command, "x"));
  free(d), free(e);
  snprintf(path, sizeof path, "{\"name\":\"d\",\"hostPath\":{\"path\":\"%s\"}}", command);
  cr_assert(!symlink("/etc", strcat(command, "/out")));
  run_pod(&w, "", "", "{\"name\":\"d\",\"mountPath\":\"/d\",\"subPath\":\"out/ssl\"}", path);
  expect_object(&w, POD_ARGS("p"), "not within volume path");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"CreateContainerConfigError\"");
  finish(&w);
}

Test(volumes, hosts_and_resolver_files) {
  world_t w;
  begin(&w);
  create_pod(
      &w, "p",
      "\"subdomain\":\"s\",\"dnsPolicy\":\"None\",\"dnsConfig\":{\"nameservers\":[\"1.2.3.4\"],\"searches\":[\"a."
      "b\"],\"options\":[{\"name\":\"ndots\",\"value\":\"2\"}]},\"hostAliases\":[{\"ip\":\"9.9.9.9\","
      "\"hostnames\":[\"x\",\"y\"]}],\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  char *hosts = host_path("/etc/hosts", NULL, NULL), *name = host_path("/etc/hostname", NULL, NULL),
       *resolver = host_path("/etc/resolv.conf", NULL, NULL), *text = read_in(hosts, "");
  cr_assert(strstr(text, "127.0.0.1\tlocalhost\n"));
  cr_assert(strstr(text, "\n10.1.2.3\tp.s.default.svc.cluster.local\tp\n"), "%s", text);
  cr_assert(strstr(text, "\n# Entries added by HostAliases.\n9.9.9.9\tx\ty\n"), "%s", text);
  has(name, "", "p\n");
  has(resolver, "", "search a.b\nnameserver 1.2.3.4\noptions ndots:2\n");
  free(text), free(hosts), free(name), free(resolver);
  finish(&w);
}

#define FILE_OF(key, optional)                                                                                         \
  "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"env\":[{\"name\":\"A\",\"valueFrom\":{"  \
  "\"fileKeyRef\":{"                                                                                                   \
  "\"volumeName\":\"v\",\"path\":\"good\",\"key\":\"" key "\"" optional                                                \
  "}}}],\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}],"

Test(volumes, files_of_a_volume_give_environment) {
  world_t w;
  char path[512];
  begin(&w);
  create_pod(&w, "p", FILE_OF("A", "") "\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]");
  expect_object(&w, POD_ARGS("p"), "couldn't parse env file");
  kg_doc_t *pod = get_object(&w, POD_ARGS("p"));
  snprintf(path, sizeof path, "%s/pods/" KG_STR_FMT "/volumes/kubernetes.io~empty-dir/v/good", w.dir,
           KG_STR_ARG(kg_view_str(kg_view_path(kg_view_of(pod), "metadata", "uid", NULL))));
  kg_doc_unref(pod);
  FILE *f = fopen(path, "w");
  cr_assert(f, "%s", path);
  fputs("# words\n\n  B='b' # more\nA='two\nlines'\n", f);
  fclose(f);
  must(&w, "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"configmaps\",\"ns\":\"default\"}",
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  kg_doc_t *args = fake_args("runtime.container.create", "-c-0");
  kg_view_t env = kg_view_get(kg_view_of(args), "env");
  cr_text(kg_view_get(kg_view_at(env, kg_view_count(env) - 1), "value"), "two\nlines");
  kg_doc_unref(args);
  finish(&w);
}

static void refused_pod(world_t *w, const char *spec, const char *why) {
  char doc[2048];
  snprintf(doc, sizeof doc, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"},\"spec\":{%s}}",
           spec);
  kg_msg_t *m =
      driver_call(w->d, "api", "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\"}", doc);
  cr_assert(kg_msg_type(m) == KG_MSG_ERROR && strstr(kg_msg_text(m), why), "%s", kg_msg_text(m));
  kg_msg_unref(m);
}

Test(volumes, files_for_the_environment_are_the_pods_own) {
  world_t w;
  begin(&w);
  refused_pod(&w, FILE_OF("A", "") "\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/tmp\"}}]",
              "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must "
              "be of type emptyDir");
  refused_pod(&w, "\"hostnameOverride\":\"h\",\"hostNetwork\":true,\"containers\":[" CONTAINER("c", "\"run\"") "]",
              "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true");
  finish(&w);
}
