#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "kube/host.h"
#include "kube/values.h"

#define NS "default"
#define CLAIMS "v1/persistentvolumeclaims"
#define VOLUMES "v1/persistentvolumes"
#define CLASSES "storage.k8s.io/v1/storageclasses"
#define PODS "v1/pods"

typedef struct {
  cluster_t *c;
  char storage[64], config[128];
} world_t;

static world_t world(void) {
  world_t w = {.storage = "/tmp/kogge-storage-XXXXXX"};
  cr_assert(mkdtemp(w.storage));
  snprintf(w.config, sizeof w.config, "{\"nodeName\":\"n1\",\"storagePath\":\"%s\"}", w.storage);
  w.c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", NULL});
  driver_load(cluster_driver(w.c), "controller-volume", "controller-volume.so", w.config);
  make(w.c, "v1/nodes", NULL, "{'metadata':{'name':'n1','labels':{'kubernetes.io/hostname':'host-1'}}}");
  expect_there(w.c, CLASSES, NULL, "local-path");
  expect_there(w.c, "v1/serviceaccounts", NS, "default");
  return w;
}

static void end(world_t *w) {
  cluster_free(w->c);
  kube_remove_tree(w->storage);
}

static void volume(cluster_t *c, const char *name, const char *size, const char *more) {
  make(c, VOLUMES, NULL,
       "{'metadata':{'name':'%s','labels':{'v':'%s'}},'spec':{'capacity':{'storage':'%s'},'hostPath':{'path':'/x'},%s"
       "'accessModes':['ReadWriteOnce']}}",
       name, name, size, more);
}

static void claim(cluster_t *c, const char *name, const char *size, const char *more) {
  make(
      c, CLAIMS, NS,
      "{'metadata':{'name':'%s'},'spec':{'accessModes':['ReadWriteOnce'],%s'resources':{'requests':{'storage':'%s'}}}}",
      name, more, size);
}

static void select_node(cluster_t *c, const char *name, const char *node) {
  patch(c, CLAIMS, NS, name, NULL, "{'metadata':{'annotations':{'volume.kubernetes.io/selected-node':'%s'}}}", node);
}

#define NO_CLASS "'storageClassName':'',"

Test(volume, the_smallest_that_suits) {
  world_t w = world();
  volume(w.c, "big", "5Gi", "");
  volume(w.c, "fits", "2Gi", "");
  volume(w.c, "small", "500Mi", "");
  volume(w.c, "other", "1Gi", "'storageClassName':'other',");
  volume(w.c, "block", "1Gi", "'volumeMode':'Block',");
  expect(w.c, VOLUMES, NULL, "block", "status>phase", "'Available'");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  expect(w.c, CLAIMS, NS, "c", "spec>volumeName", "'fits'");
  expect(w.c, CLAIMS, NS, "c", "status>capacity>storage", "'2Gi'");
  expect(w.c, CLAIMS, NS, "c", "status>accessModes>0", "'ReadWriteOnce'");
  expect(w.c, CLAIMS, NS, "c", "metadata>annotations>pv.kubernetes.io/bind-completed", "'yes'");
  expect(w.c, CLAIMS, NS, "c", "metadata>annotations>pv.kubernetes.io/bound-by-controller", "'yes'");
  expect(w.c, VOLUMES, NULL, "fits", "status>phase", "'Bound'");
  expect(w.c, VOLUMES, NULL, "fits", "spec>claimRef>name", "'c'");
  expect(w.c, VOLUMES, NULL, "fits", "metadata>annotations>pv.kubernetes.io/bound-by-controller", "'yes'");
  kg_msg_t *m = fetch(w.c, VOLUMES, NULL, "fits");
  cr_assert(kg_view_there(at(kg_view_of(kg_msg_doc(m, 0)), "status>lastPhaseTransitionTime")));
  kg_msg_unref(m);
  claim(w.c, "s", "1Gi", NO_CLASS "'selector':{'matchLabels':{'v':'big'}},");
  expect(w.c, CLAIMS, NS, "s", "spec>volumeName", "'big'");
  end(&w);
}

Test(volume, a_claim_waits_for_a_volume_and_takes_it_when_it_comes) {
  world_t w = world();
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect_event(w.c, NS, "c", "FailedBinding",
               "no persistent volumes available for this claim and no storage class is set");
  claim(w.c, "named", "1Gi", NO_CLASS "'volumeName':'mine',");
  volume(w.c, "mine", "100Mi", "");
  expect_event(w.c, NS, "named", "VolumeMismatch",
               "Cannot bind to requested volume \"mine\": requested PV is too small");
  volume(w.c, "v", "1Gi", "");
  expect(w.c, CLAIMS, NS, "c", "spec>volumeName", "'v'");
  claim(w.c, "late", "1Gi", NO_CLASS "'volumeName':'v',");
  expect_event(w.c, NS, "late", "FailedBinding", "volume \"v\" already bound to a different claim.");
  expect(w.c, CLAIMS, NS, "late", "status>phase", "'Pending'");
  end(&w);
}

Test(volume, promised_volumes_are_for_whom_they_name) {
  world_t w = world();
  volume(w.c, "promised", "9Gi", "'claimRef':{'namespace':'default','name':'c'},");
  volume(w.c, "fits", "1Gi", "");
  expect(w.c, VOLUMES, NULL, "promised", "status>phase", "'Available'");
  expect(w.c, VOLUMES, NULL, "fits", "status>phase", "'Available'");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  expect(w.c, CLAIMS, NS, "c", "spec>volumeName", "'promised'");
  expect(w.c, VOLUMES, NULL, "promised", "metadata>annotations>pv.kubernetes.io/bound-by-controller", NULL);
  kg_msg_t *m = fetch(w.c, CLAIMS, NS, "c");
  char uid[64];
  snprintf(uid, sizeof uid, "'" KG_STR_FMT "'", KG_STR_ARG(kube_uid(kg_view_of(kg_msg_doc(m, 0)))));
  expect(w.c, VOLUMES, NULL, "promised", "spec>claimRef>uid", uid);
  kg_msg_unref(m);
  end(&w);
}

Test(volume, released_volumes_are_kept_or_fail) {
  world_t w = world();
  volume(w.c, "kept", "1Gi", "");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  del(w.c, CLAIMS, NS, "c", NULL);
  expect_gone(w.c, CLAIMS, NS, "c");
  expect(w.c, VOLUMES, NULL, "kept", "status>phase", "'Released'");
  claim(w.c, "c", "1Gi", NO_CLASS); /* the same name is another claim */
  expect_event(w.c, NS, "c", "FailedBinding", NULL);
  volume(w.c, "gone", "1Gi", "'persistentVolumeReclaimPolicy':'Delete',");
  expect(w.c, CLAIMS, NS, "c", "spec>volumeName", "'gone'");
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  del(w.c, CLAIMS, NS, "c", NULL);
  expect(w.c, VOLUMES, NULL, "gone", "status>phase", "'Failed'");
  expect_event(w.c, NS, "gone", "VolumeFailedDelete", NULL);
  patch(w.c, VOLUMES, NULL, "kept", NULL, "{'spec':{'claimRef':null}}");
  expect(w.c, VOLUMES, NULL, "kept", "status>phase", "'Available'");
  end(&w);
}

Test(volume, a_claim_whose_volume_went_is_lost) {
  world_t w = world();
  volume(w.c, "v", "1Gi", "");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  patch(w.c, VOLUMES, NULL, "v", NULL, "{'metadata':{'finalizers':null}}");
  del(w.c, VOLUMES, NULL, "v", NULL);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Lost'");
  expect(w.c, CLAIMS, NS, "c", "status>capacity", NULL);
  expect_event(w.c, NS, "c", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
  end(&w);
}

static void uid_of(cluster_t *c, const char *name, char uid[64]) {
  kg_msg_t *m = fetch(c, CLAIMS, NS, name);
  snprintf(uid, 64, KG_STR_FMT, KG_STR_ARG(kube_uid(kg_view_of(kg_msg_doc(m, 0)))));
  kg_msg_unref(m);
}

/* As a controller leaves it that was stopped on the way, or somebody who chose for the claim. */
Test(volume, what_was_promised_to_a_claim_with_another_volume_is_free_again) {
  world_t w = world();
  char uid[64], claimed[200];
  volume(w.c, "v", "1Gi", "");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  uid_of(w.c, "c", uid);
  snprintf(claimed, sizeof claimed, "'claimRef':{'namespace':'default','name':'c','uid':'%s'},", uid);
  volume(w.c, "users", "1Gi", claimed);
  expect(w.c, VOLUMES, NULL, "users", "status>phase", "'Available'");
  expect(w.c, VOLUMES, NULL, "users", "spec>claimRef>uid", NULL);
  expect(w.c, VOLUMES, NULL, "users", "spec>claimRef>name", "'c'");
  make(w.c, VOLUMES, NULL,
       "{'metadata':{'name':'ours','annotations':{'pv.kubernetes.io/bound-by-controller':'yes'}},'spec':{'capacity':{"
       "'storage':'1Gi'},'hostPath':{'path':'/x'},%s'accessModes':['ReadWriteOnce']}}",
       claimed);
  expect(w.c, VOLUMES, NULL, "ours", "status>phase", "'Available'");
  expect(w.c, VOLUMES, NULL, "ours", "spec>claimRef", NULL);
  expect(w.c, CLAIMS, NS, "c", "spec>volumeName", "'v'");
  end(&w);
}

Test(volume, of_two_claims_of_one_volume_one_is_bound_incorrectly) {
  world_t w = world();
  volume(w.c, "v", "1Gi", "");
  claim(w.c, "c", "1Gi", NO_CLASS);
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  make(w.c, CLAIMS, NS,
       "{'metadata':{'name':'thief','annotations':{'pv.kubernetes.io/bind-completed':'yes'}},'spec':{'volumeName':'v',"
       "'storageClassName':'','accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}");
  expect(w.c, CLAIMS, NS, "thief", "status>phase", "'Lost'");
  expect_event(w.c, NS, "thief", "ClaimMisbound",
               "Two claims are bound to the same volume, this one is bound incorrectly");
  expect(w.c, VOLUMES, NULL, "v", "status>phase", "'Bound'");
  end(&w);
}

/* --- local-path --------------------------------------------------------------------------------------------------- */

static void path_of(world_t *w, const char *claim_name, char path[512]) {
  expect(w->c, CLAIMS, NS, claim_name, "status>phase", "'Bound'");
  kg_msg_t *m = fetch(w->c, CLAIMS, NS, claim_name);
  kg_str_t name = kg_view_str(at(kg_view_of(kg_msg_doc(m, 0)), "spec>volumeName"));
  snprintf(path, 512, "%s/" KG_STR_FMT "_default_%s", w->storage, KG_STR_ARG(name), claim_name);
  kg_msg_unref(m);
}

static void gone(const char *path) {
  for (int i = 0; i < 500 && !access(path, F_OK); i++) pause_ms(10);
  cr_assert(access(path, F_OK), "%s is still there", path);
}

Test(volume, local_path_makes_a_directory_when_a_node_was_chosen) {
  world_t w = world();
  char path[512], quoted[520], trash[80];
  struct stat st;
  claim(w.c, "data", "1Gi", "");
  expect(w.c, CLAIMS, NS, "data", "spec>storageClassName", "'local-path'");
  expect_event(w.c, NS, "data", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
  select_node(w.c, "data", "n1");
  path_of(&w, "data", path);
  expect_event(w.c, NS, "data", "ExternalProvisioning", NULL);
  expect_event(w.c, NS, "data", "ProvisioningSucceeded", NULL);
  expect(w.c, CLAIMS, NS, "data", "metadata>annotations>volume.kubernetes.io/storage-provisioner",
         "'rancher.io/local-path'");
  expect(w.c, CLAIMS, NS, "data", "status>capacity>storage", "'1Gi'");
  cr_assert(!stat(path, &st) && S_ISDIR(st.st_mode));
  cr_assert_eq(st.st_mode & 07777, 0777);
  char volume_name[80];
  snprintf(volume_name, sizeof volume_name, "%.*s", 40, path + strlen(w.storage) + 1);
  snprintf(quoted, sizeof quoted, "'%s'", path);
  expect(w.c, VOLUMES, NULL, volume_name, "spec>hostPath>path", quoted);
  expect(w.c, VOLUMES, NULL, volume_name, "spec>hostPath>type", "'DirectoryOrCreate'");
  expect(w.c, VOLUMES, NULL, volume_name, "metadata>annotations>pv.kubernetes.io/provisioned-by",
         "'rancher.io/local-path'");
  expect(w.c, VOLUMES, NULL, volume_name, "spec>nodeAffinity>required>nodeSelectorTerms>0>matchExpressions>0>values>0",
         "'host-1'");
  expect(w.c, VOLUMES, NULL, volume_name, "spec>persistentVolumeReclaimPolicy", "'Delete'");
  del(w.c, CLAIMS, NS, "data", NULL);
  expect_gone(w.c, VOLUMES, NULL, volume_name);
  gone(path);
  snprintf(trash, sizeof trash, "%s/.trash", w.storage);
  gone(trash);
  end(&w);
}

Test(volume, local_path_says_what_it_cannot) {
  world_t w = world();
  make(w.c, CLAIMS, NS,
       "{'metadata':{'name':'many'},'spec':{'accessModes':['ReadWriteMany'],'resources':{'requests':{'storage':'1Gi'}}}"
       "}");
  select_node(w.c, "many", "n1");
  expect_event(w.c, NS, "many", "ProvisioningFailed",
               "failed to provision volume with StorageClass \"local-path\": NodePath only supports ReadWriteOnce and "
               "ReadWriteOncePod (1.22+) access modes");
  claim(w.c, "far", "1Gi", "");
  select_node(w.c, "far", "n2");
  expect_event(w.c, NS, "far", "ProvisioningFailed",
               "failed to provision volume with StorageClass \"local-path\": node \"n2\" was chosen, but directories "
               "are provided on node \"n1\" alone");
  make(w.c, CLASSES, NULL,
       "{'metadata':{'name':'now'},'provisioner':'rancher.io/local-path','volumeBindingMode':'Immediate'}");
  claim(w.c, "now", "1Gi", "'storageClassName':'now',");
  expect_event(w.c, NS, "now", "ProvisioningFailed",
               "failed to provision volume with StorageClass \"now\": configuration error, no node was specified");
  claim(w.c, "none", "1Gi", "'storageClassName':'none',");
  expect_event(w.c, NS, "none", "ProvisioningFailed", "storageclass.storage.k8s.io \"none\" not found");
  make(w.c, CLASSES, NULL, "{'metadata':{'name':'ext'},'provisioner':'example.com/x'}");
  claim(w.c, "ext", "1Gi", "'storageClassName':'ext',");
  expect(w.c, CLAIMS, NS, "ext", "metadata>annotations>volume.kubernetes.io/storage-provisioner", "'example.com/x'");
  expect_event(w.c, NS, "ext", "ExternalProvisioning", NULL);
  expect_count(w.c, VOLUMES, NULL, NULL, 0);
  end(&w);
}

Test(volume, a_node_that_went_is_chosen_anew) {
  world_t w = world();
  del(w.c, "v1/nodes", NULL, "n1", NULL);
  claim(w.c, "data", "1Gi", "");
  select_node(w.c, "data", "n1");
  expect_event(w.c, NS, "data", "ProvisioningFailed", NULL);
  expect(w.c, CLAIMS, NS, "data", "metadata>annotations>volume.kubernetes.io/selected-node", NULL);
  expect_count(w.c, VOLUMES, NULL, NULL, 0);
  end(&w);
}

/* Whoever may make volumes writes what he likes into them. */
Test(volume, nothing_outside_the_storage_is_removed) {
  world_t w = world();
  static const char *const paths[] = {"%s", "%s/", "%s/p2_/x", "%s/else_x", "%s.other/p4_x"};
  char path[200], name[8], outside[100], inside[100];
  snprintf(outside, sizeof outside, "%s.other", w.storage);
  snprintf(inside, sizeof inside, "%s/else_x", w.storage);
  mkdir(outside, 0755), mkdir(inside, 0755);
  for (int i = 0; i < 5; i++) {
    snprintf(path, sizeof path, paths[i], w.storage);
    snprintf(name, sizeof name, "p%d", i);
    make(w.c, VOLUMES, NULL,
         "{'metadata':{'name':'%s','annotations':{'pv.kubernetes.io/provisioned-by':'rancher.io/local-path',"
         "'local.path.provisioner/selected-node':'n1'}},'spec':{'capacity':{'storage':'1Gi'},'hostPath':{'path':'%s'},"
         "'persistentVolumeReclaimPolicy':'Delete','accessModes':['ReadWriteOnce'],'claimRef':{'namespace':'default',"
         "'name':'gone','uid':'1'}}}",
         name, path);
    expect_event(w.c, NS, name, "VolumeFailedDelete", NULL);
    expect(w.c, VOLUMES, NULL, name, "status>phase", "'Released'");
  }
  cr_assert(!access(outside, F_OK) && !access(inside, F_OK));
  kube_remove_tree(outside);
  end(&w);
}

Test(volume, what_a_volume_links_to_stays) {
  world_t w = world();
  char path[512], link[600], kept[600];
  claim(w.c, "data", "1Gi", "");
  select_node(w.c, "data", "n1");
  path_of(&w, "data", path);
  snprintf(link, sizeof link, "%s/link", path);
  snprintf(kept, sizeof kept, "%s.kept", w.storage);
  mkdir(kept, 0755);
  cr_assert(!symlink(kept, link));
  del(w.c, CLAIMS, NS, "data", NULL);
  gone(path);
  expect_count(w.c, VOLUMES, NULL, NULL, 0);
  cr_assert(!access(kept, F_OK));
  rmdir(kept);
  end(&w);
}

Test(volume, whose_volume_was_deleted_before_it_leaves_no_directory) {
  world_t w = world();
  char path[512], name[80];
  make(w.c, CLASSES, NULL,
       "{'metadata':{'name':'l','annotations':{'defaultVolumeType':'local'}},'provisioner':'rancher.io/local-path',"
       "'volumeBindingMode':'WaitForFirstConsumer'}");
  claim(w.c, "data", "1Gi", "'storageClassName':'l',");
  select_node(w.c, "data", "n1");
  path_of(&w, "data", path);
  snprintf(name, sizeof name, "%.*s", 40, path + strlen(w.storage) + 1);
  expect(w.c, VOLUMES, NULL, name, "spec>hostPath", NULL);
  del(w.c, VOLUMES, NULL, name, NULL);
  stays_count(w.c, VOLUMES, NULL, NULL, 1, 50); /* bound */
  del(w.c, CLAIMS, NS, "data", NULL);
  expect_gone(w.c, VOLUMES, NULL, name);
  gone(path);
  end(&w);
}

/* --- pods --------------------------------------------------------------------------------------------------------- */

static void pod(cluster_t *c, const char *name, const char *volume_source) {
  make(c, PODS, NS,
       "{'metadata':{'name':'%s'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v',%s}]}}", name,
       volume_source);
}

Test(volume, ephemeral_volumes_get_a_claim_of_their_pod) {
  world_t w = world();
  static const char source[] =
      "'ephemeral':{'volumeClaimTemplate':{'metadata':{'labels':{'a':'b'}},'spec':{'accessModes':['ReadWriteOnce'],"
      "'resources':{'requests':{'storage':'1Gi'}}}}}";
  pod(w.c, "p", source);
  expect(w.c, CLAIMS, NS, "p-v", "metadata>ownerReferences>kind=Pod>controller", "true");
  expect(w.c, CLAIMS, NS, "p-v", "metadata>ownerReferences>kind=Pod>name", "'p'");
  expect(w.c, CLAIMS, NS, "p-v", "metadata>labels>a", "'b'");
  expect(w.c, CLAIMS, NS, "p-v", "spec>resources>requests>storage", "'1Gi'");
  claim(w.c, "q-v", "1Gi", "");
  pod(w.c, "q", source);
  expect_event(w.c, NS, "q", "FailedBinding",
               "ephemeral volume v: PVC default/q-v was not created for pod default/q (pod is not owner)");
  end(&w);
}

Test(volume, a_claim_in_use_stays_until_its_pod_is_gone) {
  world_t w = world();
  char path[512];
  claim(w.c, "data", "1Gi", "");
  select_node(w.c, "data", "n1");
  path_of(&w, "data", path);
  pod(w.c, "p", "'persistentVolumeClaim':{'claimName':'data'}");
  post_sub(w.c, PODS, NS, "p", "binding", "{'target':{'kind':'Node','name':'n1'}}");
  expect(w.c, PODS, NS, "p", "spec>nodeName", "'n1'");
  del(w.c, CLAIMS, NS, "data", NULL);
  stays_count(w.c, CLAIMS, NS, NULL, 1, 100);
  cr_assert(!access(path, F_OK));
  finish_pod(w.c, NS, "p", "Succeeded", 0);
  expect_gone(w.c, CLAIMS, NS, "data");
  gone(path);
  end(&w);
}

/* --- classes ------------------------------------------------------------------------------------------------------ */

Test(volume, older_claims_get_the_default_class) {
  world_t w = world();
  patch(w.c, CLASSES, NULL, "local-path", NULL,
        "{'metadata':{'annotations':{'storageclass.kubernetes.io/is-default-class':'false'}}}");
  expect(w.c, CLASSES, NULL, "local-path", "metadata>annotations>storageclass.kubernetes.io/is-default-class",
         "'false'");
  claim(w.c, "old", "1Gi", "");
  claim(w.c, "none", "1Gi", NO_CLASS);
  expect_event(w.c, NS, "old", "FailedBinding", NULL);
  make(w.c, CLASSES, NULL,
       "{'metadata':{'name':'mine','annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},"
       "'provisioner':'example.com/x','allowVolumeExpansion':true}");
  expect(w.c, CLAIMS, NS, "old", "spec>storageClassName", "'mine'");
  expect(w.c, CLAIMS, NS, "none", "spec>storageClassName", "''");
  end(&w);
}

/* Nobody here grows volumes; where the class allows it somebody else may, and until then less may be asked for again.
 */
Test(volume, claims_of_a_class_that_allows_it_may_ask_for_more) {
  world_t w = world();
  make(w.c, CLASSES, NULL, "{'metadata':{'name':'ext'},'provisioner':'example.com/x','allowVolumeExpansion':true}");
  volume(w.c, "v", "1Gi", "'storageClassName':'ext',");
  claim(w.c, "c", "1Gi", "'storageClassName':'ext',");
  expect(w.c, CLAIMS, NS, "c", "status>phase", "'Bound'");
  patch(w.c, CLAIMS, NS, "c", NULL, "{'spec':{'resources':{'requests':{'storage':'3Gi'}}}}");
  patch(w.c, CLAIMS, NS, "c", NULL, "{'spec':{'resources':{'requests':{'storage':'2Gi'}}}}");
  expect(w.c, CLAIMS, NS, "c", "status>capacity>storage", "'1Gi'");
  expect(w.c, CLAIMS, NS, "c", "spec>resources>requests>storage", "'2Gi'");
  end(&w);
}
