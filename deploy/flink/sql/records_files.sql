-- Raw records from files in a folder, a line each; the hosted detectors decode them themselves.
CREATE TABLE records (
  record BYTES,
  place STRING NOT NULL METADATA FROM 'file.path'
) WITH (
  'connector' = 'filesystem',
  'path' = 'file:///var/log/acmeco',
  'format' = 'raw'
);
