-- One database per service: no service reads another's tables.
CREATE DATABASE tollgate_edge;
CREATE DATABASE tollgate_billing;
CREATE DATABASE tollgate_media_jobs;
