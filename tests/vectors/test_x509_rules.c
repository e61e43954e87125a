// link: peal_ca
/*
 * What peal-ca signs, judged by members' code and by `openssl verify` and `openssl crl` beside each
 * other: chain, dates, and the rules for lists of RFC 5280 6.3. The two differ in one thing, and
 * mean to: openssl refuses everybody whose CA's list is old, or of tomorrow; members go on with the
 * newest list that they have, by its number, and say that it is out of date.
 */
#include "ca-web/issue.h"
#include "overlay/crypto/cert.h"
#include "tests/unit/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOW_S = 1800000000, DAY_S = 86400, OUTPUT_MAX = 4096 };

enum signer { OURS, SIBLING }; /* another group's CA, of the same name */
enum list { NO_LIST, LISTED, OTHER_LISTED };

static char folder[] = "/tmp/peal-x509-XXXXXX", home[4096];
static struct authority authorities[2];
static struct id groups[2];

static void write_pem(const char *name, const char *label, const uint8_t *der, size_t len)
{
    char pem[8192];
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(der_to_pem(label, der, len, pem, sizeof pem) > 0);
    assert_true(fputs(pem, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* What the command says; its status is that of the answer "yes". */
static bool says(const char *command, char out[OUTPUT_MAX])
{
    FILE *f = popen(command, "r");

    assert_non_null(f);
    out[fread(out, 1, OUTPUT_MAX - 1, f)] = '\0';
    return pclose(f) == 0;
}

static struct cert_ca *our_ca(void)
{
    char pem[4096];
    const char *why = NULL;

    assert_true(der_to_pem("CERTIFICATE", authorities[OURS].der, authorities[OURS].der_len, pem,
                           sizeof pem) > 0);
    struct cert_ca *ca = cert_ca_new(pem, strlen(pem), &why);
    assert_non_null(ca);
    return ca;
}

static const struct row {
    const char *name;
    enum signer signer;
    int from_days, until_days; /* of the certificate, from now */
    enum list list;
    enum signer list_signer;
    int list_from_days, list_until_days;
    enum cert_verdict verdict;
    bool list_taken;
    const char *openssl; /* "": it agrees with a verdict of CERT_OK */
} rows[] = {
    {"in order", OURS, -1, 1, NO_LIST, OURS, 0, 0, CERT_OK, false, ""},
    {"expired", OURS, -3, -1, NO_LIST, OURS, 0, 0, CERT_EXPIRED, false, "certificate has expired"},
    {"not yet valid", OURS, 1, 3, NO_LIST, OURS, 0, 0, CERT_NOT_YET_VALID, false,
     "certificate is not yet valid"},
    {"of a CA that has our name and another key", SIBLING, -1, 1, NO_LIST, OURS, 0, 0,
     CERT_WRONG_ISSUER, false, "certificate signature failure"},
    {"somebody else is listed", OURS, -1, 1, OTHER_LISTED, OURS, -1, 1, CERT_OK, true, ""},
    {"listed", OURS, -1, 1, LISTED, OURS, -1, 1, CERT_REVOKED, true, "certificate revoked"},
    {"listed by a CA that has our name and another key", OURS, -1, 1, LISTED, SIBLING, -1, 1,
     CERT_OK, false, "unable to get certificate CRL"},
    {"listed, and expired", OURS, -3, -1, LISTED, OURS, -1, 1, CERT_REVOKED, true,
     "certificate revoked"},
    {"not on a list that is old", OURS, -1, 1, OTHER_LISTED, OURS, -3, -1, CERT_OK, true,
     "CRL has expired"},
    {"on a list that is old", OURS, -1, 1, LISTED, OURS, -3, -1, CERT_REVOKED, true,
     "certificate revoked"},
    {"not on a list of tomorrow", OURS, -1, 1, OTHER_LISTED, OURS, 1, 2, CERT_OK, true,
     "CRL is not yet valid"},
    {"on a list of tomorrow", OURS, -1, 1, LISTED, OURS, 1, 2, CERT_REVOKED, true,
     "certificate revoked"},
};

/* The list as peal-ca signs it, in crl.pem too; what members make of it, NULL when they refuse. */
static struct cert_crl *make_list(const struct row *row, const struct cert_ca *ca,
                                  const uint8_t serial[16])
{
    struct issue_revoked entry = {.serial_len = 16, .revoked_s = NOW_S - 3600};
    const char *why = NULL;
    uint8_t *der = NULL;

    memcpy(entry.serial, serial, 16);
    entry.serial[15] ^= row->list == OTHER_LISTED;
    int len =
        issue_crl(&authorities[row->list_signer], &entry, 1, 7, NOW_S + row->list_from_days * DAY_S,
                  NOW_S + row->list_until_days * DAY_S, &der);
    assert_true(len > 0);
    write_pem("crl.pem", "X509 CRL", der, (size_t)len);
    struct cert_crl *crl = cert_crl_new(ca, der, (size_t)len, &why);
    free(der);
    return crl;
}

static void ask_openssl_about_the_list(const struct row *row)
{
    char out[OUTPUT_MAX];

    assert_true(says("openssl crl -in crl.pem -noout -CAfile ca.pem 2>&1", out));
    assert_int_equal(strstr(out, "verify OK") != NULL, row->list_taken);
}

static void ask_openssl(const struct row *row)
{
    char command[256], out[OUTPUT_MAX];

    snprintf(command, sizeof command, "openssl verify -attime %d -CAfile ca.pem%s member.pem 2>&1",
             NOW_S, row->list == NO_LIST ? "" : " -crl_check -CRLfile crl.pem");
    bool good = says(command, out);
    if (good != !*row->openssl || !strstr(out, row->openssl))
        fail_msg("%s: openssl says: %s", row->name, out);
}

static void judge(const struct row *row)
{
    struct issue_member m = {.group = groups[row->signer],
                             .enrolment = 3,
                             .user = "bob",
                             .not_before_s = NOW_S + row->from_days * DAY_S,
                             .not_after_s = NOW_S + row->until_days * DAY_S};
    uint8_t der[CERT_DER_MAX];
    struct sign_secret secret;
    struct secret seed = {{9}};
    struct cert_ca *ca = our_ca();
    struct cert_crl *crl = NULL;
    struct cert cert;

    sign_keys(&m.key, &secret, &seed);
    issue_serial(m.serial);
    int len = issue_member(&authorities[row->signer], &m, der, sizeof der);
    assert_true(len > 0);
    write_pem("member.pem", "CERTIFICATE", der, (size_t)len);
    if (row->list != NO_LIST) {
        crl = make_list(row, ca, m.serial);
        assert_int_equal(crl != NULL, row->list_taken);
        ask_openssl_about_the_list(row);
    }
    enum cert_verdict verdict = cert_verify(ca, crl, der, (size_t)len, NOW_S, true, &cert);
    if (verdict != row->verdict)
        fail_msg("%s: members say: %s", row->name, cert_verdict_text(verdict));
    ask_openssl(row);
    cert_crl_free(crl);
    cert_ca_free(ca);
}

static void members_and_openssl_judge_alike_but_for_the_age_of_a_list(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        judge(&rows[i]);
}

static int setup(void **state)
{
    if (crypto_start() < 0 || getcwd(home, sizeof home) == NULL || mkdtemp(folder) == NULL ||
        chdir(folder) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(authorities); i++) {
        memset(groups[i].b, 0x20 + (int)i, sizeof groups[i].b);
        memset(authorities[i].seed.b, 0x40 + (int)i, sizeof authorities[i].seed.b);
        if (issue_authority(&authorities[i], "lab", &groups[i], NOW_S - 30 * DAY_S) < 0)
            return -1;
    }
    write_pem("ca.pem", "CERTIFICATE", authorities[OURS].der, authorities[OURS].der_len);
    return 0;
}

static int teardown(void **state)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    return chdir(home) == 0 && system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_openssl_judge_alike_but_for_the_age_of_a_list),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
