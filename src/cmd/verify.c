/*
 * cmd/verify.c - `lighter verify`: is an image what its context builds?
 */
#include "cmd/buildrun.h"
#include "cmd/compare.h"

/* The rule of the layers that were made here; of an image from elsewhere the time it says. */
static bool find_epoch(Build *b, const SourceImage *img)
{
    for (size_t i = img->nlayer; i-- > 0;) {
        LayerTimes times;
        if (!layer_times_parse(img->layers[i].times, &times))
            continue;
        if (times.kind == TIMES_FIXED)
            b->verify_epoch = "content";
        else if (times.kind == TIMES_CLAMP)
            b->verify_epoch = arena_printf(b->arena, "%lld", (long long)times.at);
        return true;
    }
    if (img->config.created && image_time_parse(img->config.created) == TIMES_CONTENT)
        b->verify_epoch = "content";
    return true;
}

bool verify_begin(Build *b)
{
    SourceImage img;
    if (!cmd_find(b->store, b->arena, b->verify, &b->verify_id, b->e) ||
        !source_image(b->store, b->arena, &b->verify_id, &img, b->e))
        return false;
    if (!b->opts->platforms.n) {
        Target *t = &b->targets[0];
        t->platform = (Platform){img.config.os, img.config.architecture,
                                 img.config.variant ? img.config.variant : ""};
        t->text = image_platform_text(b->arena, &t->platform);
        b->ntarget = 1;
    }
    if (b->ntarget > 1)
        return err_set(b->e, ERR_USAGE, "one image is compared: give one --platform");
    return find_epoch(b, &img) && source_prepare_bytes(b->store, &b->verify_id, b->registry, b->e);
}

bool verify_end(Build *b)
{
    const Target *t = &b->targets[0];
    AnalyzeDifference d;
    if (!b->rewritten)
        event_send(&b->env.sink,
                   &(Event){.kind = EV_NOTE,
                            .text = "times are not compared: neither --epoch nor "
                                    "SOURCE_DATE_EPOCH is set, and the image does not say"});
    if (!result_enter(b) || !source_fetch(b->store, &b->verify_id, b->registry, b->e) ||
        !source_fetch(b->store, &t->id, b->registry, b->e) ||
        !analyze_difference(b->store, b->arena, &b->verify_id, &t->id, b->rewritten, &d, b->e))
        return false;
    if (d.n) {
        compare_print(stdout, &d);
        return err_set(b->e, ERR_CHECK, "'%s' is not what this builds: %zu difference%s", b->verify,
                       d.n, d.n == 1 ? "" : "s");
    }
    event_send(&b->env.sink,
               &(Event){.kind = EV_NOTE,
                        .text = arena_printf(b->arena, "'%s' is what this builds%s", b->verify,
                                             digest_eq(&b->verify_id, &t->id) ? ", byte for byte"
                                                                              : ", times aside")});
    return true;
}
