// link: peal_crypto
/*
 * The profile as the `openssl` program writes and reads it: a group CA, a member certificate for a
 * request of ours, and a removal list, made by commands that an administrator could type.
 */
#include "overlay/crypto/cert.h"
#include "tests/unit/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROUP "1111111111111111111111111111111111111111"

static char folder[] = "/tmp/peal-x509-XXXXXX";
static char home[4096];

static void run(const char *command)
{
    int status = system(command);

    if (status != 0)
        fail_msg("%s: status %d", command, status);
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static size_t read_file(const char *name, char *out, size_t size)
{
    FILE *f = fopen(name, "r");
    size_t len;

    assert_non_null(f);
    len = fread(out, 1, size, f);
    fclose(f);
    assert_in_range(len, 1, size - 1);
    return len;
}

static struct sign_public make_request(void)
{
    struct secret seed = {{7}};
    struct sign_public pub;
    struct sign_secret sec;
    char pem[512];

    sign_keys(&pub, &sec, &seed);
    assert_int_equal(csr_make(&sec, "alice", pem, sizeof pem), 0);
    write_file("member.csr", pem);
    return pub;
}

static struct cert_ca *make_ca(void)
{
    char pem[4096];
    const char *why = NULL;
    struct cert_ca *ca;

    run("openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -days 10 -subj "
        "/CN=ring "
        "-addext 'basicConstraints=critical,CA:TRUE,pathlen:0' "
        "-addext 'keyUsage=critical,keyCertSign,cRLSign' "
        "-addext 'subjectAltName=URI:peal:group:" GROUP "' 2>log");
    ca = cert_ca_new(pem, read_file("ca.pem", pem, sizeof pem), &why);
    assert_null(why);
    assert_non_null(ca);
    assert_string_equal(cert_ca_name(ca), "ring");
    return ca;
}

static struct cert make_member(const struct cert_ca *ca, const struct sign_public *pub)
{
    struct id node = node_id_certified(pub, cert_ca_group(ca), 7);
    char text[1024], hex[ID_TEXT_SIZE];
    uint8_t der[2048];
    struct cert cert;
    int len;

    snprintf(text, sizeof text,
             "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
             "subjectAltName=URI:peal:node:%s,URI:peal:group:" GROUP ",URI:peal:enrolment:7\n",
             id_text(&node, hex));
    write_file("member.ext", text);
    run("openssl req -in member.csr -verify -noout 2>log"); /* our request satisfies them */
    run("openssl x509 -req -in member.csr -CA ca.pem -CAkey ca.key -set_serial 0x1234 -days 5 "
        "-extfile member.ext -out member.pem 2>log");
    run("openssl verify -CAfile ca.pem member.pem >log 2>&1");
    len = pem_to_der("CERTIFICATE", text, read_file("member.pem", text, sizeof text), der,
                     sizeof der);
    assert_true(len > 0);
    assert_int_equal(cert_verify(ca, NULL, der, (size_t)len, time(NULL), true, &cert), CERT_OK);
    assert_memory_equal(&cert.key, pub, sizeof *pub);
    assert_memory_equal(cert.serial, "\x12\x34", 2);
    assert_int_equal(cert.serial_len, 2);
    assert_int_equal(cert.not_after_s - cert.not_before_s, 5 * 86400);
    return cert;
}

static void what_openssl_writes_is_read(void **state)
{
    struct sign_public pub = make_request();
    struct cert_ca *ca = make_ca();
    struct cert cert = make_member(ca, &pub);
    char der[4096];
    const char *why = NULL;
    struct cert_crl *crl;

    write_file("ca.cnf",
               "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\ndefault_md=default\n"
               "certificate=ca.pem\nprivate_key=ca.key\ndefault_crl_days=1\n"
               "crl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n");
    write_file("number", "0A\n");
    write_file("index", "");
    run("openssl ca -config ca.cnf -revoke member.pem 2>log");
    run("openssl ca -config ca.cnf -gencrl -out crl.pem 2>log");
    run("openssl crl -in crl.pem -outform DER -out crl.der");
    crl = cert_crl_new(ca, (const uint8_t *)der, read_file("crl.der", der, sizeof der), &why);
    assert_null(why);
    assert_non_null(crl);
    assert_int_equal(cert_crl_number(crl), 10);
    assert_int_equal(cert_crl_entries(crl), 1);
    assert_true(cert_crl_lists(crl, cert.serial, cert.serial_len));
    assert_false(cert_crl_lists(crl, (const uint8_t *)"\x12\x35", 2));
    assert_in_range(cert_crl_next_update_s(crl) - time(NULL), 86400 - 60, 86400);
    cert_crl_free(crl);
    cert_ca_free(ca);
}

static int setup(void **state)
{
    if (crypto_start() < 0 || getcwd(home, sizeof home) == NULL || mkdtemp(folder) == NULL)
        return -1;
    return chdir(folder);
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
        cmocka_unit_test(what_openssl_writes_is_read),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
