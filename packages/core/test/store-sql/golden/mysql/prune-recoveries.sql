delete from `holdfast_recoveries` where recovered_at < date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);
