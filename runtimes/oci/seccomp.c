/* Which system calls a container may make: none of ours to forbid, the usual ones, or what a profile file says. */
#include <stdio.h>

#include "oci.h"

enum { MOST_PROFILE = 1 << 20, EPERM_CODE = 1, ENOSYS_CODE = 38 };

/* Calls that reach beyond a container, and the capability with which they are allowed after all (NULL: none). */
typedef struct barred {
  const char *cap, *calls;
} barred_t;

static const barred_t barred[] = {
    {"CAP_SYS_ADMIN", "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
                      "open_tree pivot_root quotactl quotactl_fd setdomainname sethostname setns umount umount2 "
                      "unshare"},
    {"CAP_BPF", "bpf"},
    {"CAP_PERFMON", "perf_event_open"},
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_SYS_BOOT", "reboot"},
    {"CAP_SYS_CHROOT", "chroot"},
    {"CAP_SYS_MODULE", "delete_module finit_module init_module"},
    {"CAP_SYS_NICE", "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev"},
    {"CAP_SYS_RAWIO", "ioperm iopl"},
    {"CAP_SYS_TIME", "clock_adjtime clock_settime clock_settime64 settimeofday stime"},
    {"CAP_SYS_TTY_CONFIG", "vhangup"},
    {"CAP_SYSLOG", "syslog"},
    {NULL, "_sysctl add_key create_module get_kernel_syms io_uring_enter io_uring_register io_uring_setup "
           "kexec_file_load kexec_load keyctl nfsservctl query_module request_key swapoff swapon sysfs uselib "
           "userfaultfd ustat vm86 vm86old"}};

static bool has_cap(const kube_node_t *caps, const char *name) {
  for (uint32_t i = 0; i < caps->c.n; i++)
    if (kg_str_is(kube_node_str(caps->c.items[i]), name)) return true;
  return false;
}

static kube_node_t *rule(kube_arena_t *a, const char *names, int code) {
  kube_node_t *r = kube_map(a), *list = kube_array(a);
  for (const char *p = names; *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    kube_push(a, list, kube_strn(a, (kg_str_t){p, n}));
    p += n;
  }
  kube_set(a, r, "names", list);
  kube_set(a, r, "action", kube_str(a, "SCMP_ACT_ERRNO"));
  kube_set(a, r, "errnoRet", kube_int(a, code));
  return r;
}

/* clone() into a new name space; clone3() hides its flags in memory, and libraries do without it if it is unknown. */
static void bar_namespaces(kube_arena_t *a, kube_node_t *rules) {
  static const int64_t flags[] = {0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    kube_node_t *r = rule(a, "clone", EPERM_CODE), *args = kube_array(a), *arg = kube_map(a);
    kube_set(a, arg, "index", kube_int(a, 0));
    kube_set(a, arg, "value", kube_int(a, flags[i]));
    kube_set(a, arg, "valueTwo", kube_int(a, flags[i]));
    kube_set(a, arg, "op", kube_str(a, "SCMP_CMP_MASKED_EQ"));
    kube_push(a, args, arg);
    kube_set(a, r, "args", args);
    kube_push(a, rules, r);
  }
  kube_push(a, rules, rule(a, "clone3", ENOSYS_CODE));
}

static kube_node_t *usual(kube_arena_t *a, const kube_node_t *caps) {
  kube_node_t *profile = kube_map(a), *rules = kube_array(a), *archs = kube_array(a);
#if defined(__x86_64__)
  static const char *const names[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
  static const char *const names[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#else
  static const char *const names[] = {"SCMP_ARCH_NATIVE"};
#endif
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) kube_push(a, archs, kube_str(a, names[i]));
  for (size_t i = 0; i < sizeof barred / sizeof *barred; i++)
    if (!barred[i].cap || (!has_cap(caps, barred[i].cap) && !has_cap(caps, "CAP_SYS_ADMIN")))
      kube_push(a, rules, rule(a, barred[i].calls, EPERM_CODE));
  if (!has_cap(caps, "CAP_SYS_ADMIN")) bar_namespaces(a, rules);
  kube_set(a, profile, "defaultAction", kube_str(a, "SCMP_ACT_ALLOW"));
  kube_set(a, profile, "architectures", archs);
  kube_set(a, profile, "syscalls", rules);
  return profile;
}

/* A profile file as the runtime specification has it. */
static kube_node_t *from_file(kube_arena_t *a, kg_str_t path, kg_error_t *err) {
  char file[PATH_SIZE];
  size_t n = 0;
  snprintf(file, sizeof file, KG_STR_FMT, KG_STR_ARG(path));
  char *text = read_whole(file, MOST_PROFILE, &n);
  if (!text) {
    kg_error_set(err, KG_EINVAL, "cannot load seccomp profile \"%s\": no such file or directory", file);
    return NULL;
  }
  kg_error_t why = {0};
  kg_doc_t *doc = kube_json_parse(text, n, NULL, NULL, &why);
  free(text);
  void *bytes = doc ? kube_arena_alloc(a, kg_doc_size(doc)) : NULL; /* the tree's strings lie in it */
  kube_node_t *own = NULL;
  if (bytes) {
    memcpy(bytes, kg_doc_data(doc), kg_doc_size(doc));
    own = kube_tree_parse(a, kg_view_bytes(bytes, kg_doc_size(doc)));
  }
  kg_doc_unref(doc);
  if (!own || own->type != KG_V_MAP) {
    kg_error_set(err, KG_EINVAL, "seccomp profile \"%s\" is no JSON object: %s", file, why.text);
    return NULL;
  }
  return own;
}

int seccomp_profile(kube_arena_t *a, kg_view_t security, const kube_node_t *caps, kube_node_t **profile,
                    kg_error_t *err) {
  kg_view_t want = kg_view_get(security, "seccomp");
  kg_str_t type = kg_view_str(kg_view_get(want, "type"));
  *profile = NULL;
  if (kg_view_bool(kg_view_get(security, "privileged"), false)) return 0;
  if (kg_str_is(type, "RuntimeDefault")) *profile = usual(a, caps);
  if (!kg_str_is(type, "Localhost")) return 0;
  *profile = from_file(a, kg_view_str(kg_view_get(want, "path")), err);
  return *profile ? 0 : -1;
}
