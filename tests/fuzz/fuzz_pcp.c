// link: peal_words
/* A router's answer to PCP: read within its bytes; what is granted can be used. */
#include "daemon/pcp.h"
#include "overlay/core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct pcp_map asked = {.client = addr_v4(0xc0a8010a),
                                  .nonce = "abcdefghijk",
                                  .protocol = PCP_PROTOCOL_UDP,
                                  .internal_port = 4747,
                                  .lifetime_s = 3600};
    struct pcp_grant g;

    if (pcp_response(&g, &asked, data, len) == PCP_GRANTED)
        CHECK(len >= PCP_MAP_LEN && g.external.port != 0);
    return 0;
}
