/* Checks the tokens of the command line: verify SETTINGS.json TOKEN...
 *
 * Exit status: 0 when all tokens are admitted, 1 when one is refused, 2 without a verifier. */
#include <stdio.h>
#include <stdlib.h>

#include "dpv.h"

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 16);
    size_t size = text ? fread(text, 1, (1 << 16) - 1, file) : 0;
    fclose(file);
    if (size == 0) {
        free(text);
        return NULL;
    }
    return text;
}

int main(int count, char **arguments) {
    char *settings = count > 1 ? read_file(arguments[1]) : NULL;
    DpvVerifier *verifier = NULL;
    char *error = NULL;
    DpvCode code = dpv_verifier_new(settings, &verifier, &error);
    free(settings);
    if (code != DPV_CODE_OK) {
        fprintf(stderr, "%s\n", error);
        dpv_string_free(error);
        return 2;
    }
    int status = 0;
    for (int n = 2; n < count; n++) {
        DpvLicense *license = NULL;
        code = dpv_verify(verifier, arguments[n], &license, &error);
        if (code != DPV_CODE_OK) {
            printf("%s: %s\n", dpv_code_name(code), error);
            dpv_string_free(error);
            status = 1;
            continue;
        }
        uint64_t most = 0;
        DpvLimit limit = dpv_license_limit(license, "max_workspaces", &most);
        char *json = dpv_license_json(license);
        printf("%s: alerts %s, workspaces %s %llu\n%s\n", dpv_license_state(license),
               dpv_license_has_feature(license, "alerts_enabled") ? "on" : "off",
               limit == DPV_LIMIT_UNLIMITED ? "unlimited" : "at most", (unsigned long long)most, json);
        dpv_string_free(json);
        dpv_license_free(license);
    }
    dpv_verifier_free(verifier);
    return status;
}
