#include "daemon/privilege.h"

#include "daemon/log.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/* capget(2) and capset(2) themselves; glibc has no wrappers. */
static bool get_caps(uint64_t *effective, uint64_t *permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return true;
}

static bool set_caps(uint64_t caps)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    memset(data, 0, sizeof data);
    for (unsigned i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = (uint32_t)(caps >> 32 * i);
    return syscall(SYS_capset, &header, data) == 0;
}

void privilege_harden(void)
{
    const struct rlimit none = {0, 0};

    umask(077);
    (void)!setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void privilege_drop(const char *state)
{
    uint64_t keep = CAP_BIT(CAP_NET_ADMIN) | CAP_BIT(CAP_NET_BIND_SERVICE) | CAP_BIT(CAP_NET_RAW);
    uint64_t effective, permitted;
    struct stat st;

    if (stat(state, &st) == 0 && st.st_uid != geteuid())
        keep |= CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!get_caps(&effective, &permitted))
        return;
    /* The bounding set holds for what a child of root would regain by exec. Refused without
     * CAP_SETPCAP, but then there is nothing in the permitted set to regain either. */
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (!(keep & CAP_BIT(cap)))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
    if (!set_caps(permitted & keep))
        log_write(LOG_LEVEL_WARN, NULL, "cannot give up capabilities: %s", strerror(errno));
}

bool privilege_net_admin(void)
{
    uint64_t effective, permitted;

    return get_caps(&effective, &permitted) && (effective & CAP_BIT(CAP_NET_ADMIN));
}
