delete from `holdfast_crashes` where last_crash_at < date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);
