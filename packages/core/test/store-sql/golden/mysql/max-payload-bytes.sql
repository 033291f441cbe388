select @@max_allowed_packet as max;
