#include "tap/arp.h"

#include <string.h>

#include "overlay/core/wire.h"

enum { HARDWARE_ETHERNET = 1 };

bool arp_parse(struct arp_packet *out, const uint8_t *frame, size_t len)
{
    struct reader r = reader_of(frame, len);
    (void)read_bytes(&r, 12);
    bool known = read_u16(&r) == ETH_TYPE_ARP && read_u16(&r) == HARDWARE_ETHERNET &&
                 read_u16(&r) == ETH_TYPE_IPV4 && read_u8(&r) == 6 && read_u8(&r) == 4;
    uint16_t op = read_u16(&r);
    *out = (struct arp_packet){.op = op};
    read_copy(&r, out->sender_mac.b, 6);
    out->sender = addr_v4(read_u32(&r));
    (void)read_bytes(&r, 6);
    out->target = addr_v4(read_u32(&r));
    return known && !r.failed && (op == ARP_REQUEST || op == ARP_REPLY) &&
           !mac_is_multicast(&out->sender_mac);
}

bool arp_is_question(const struct arp_packet *arp)
{
    return arp->op == ARP_REQUEST && !addr_is_unspecified(&arp->sender) &&
           !addr_eq(&arp->sender, &arp->target);
}

void arp_answer(uint8_t out[ARP_FRAME_LEN], const struct arp_packet *request, const struct mac *mac)
{
    eth_put(out, &request->sender_mac, mac, ETH_TYPE_ARP);
    struct writer w = writer_of(out + ETH_HEADER_LEN, ARP_FRAME_LEN - ETH_HEADER_LEN);
    write_u16(&w, HARDWARE_ETHERNET);
    write_u16(&w, ETH_TYPE_IPV4);
    write_u8(&w, 6);
    write_u8(&w, 4);
    write_u16(&w, ARP_REPLY);
    write_bytes(&w, mac->b, 6);
    write_bytes(&w, request->target.b, 4);
    write_bytes(&w, request->sender_mac.b, 6);
    write_bytes(&w, request->sender.b, 4);
}
