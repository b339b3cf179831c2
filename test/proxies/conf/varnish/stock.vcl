# The plainest reverse proxy: all else is the builtin VCL. `no-cache` in the head keeps streams out of the cache.
vcl 4.1;

backend default {
  .host = "127.0.0.1";
  .port = "{{upstream}}";
}
