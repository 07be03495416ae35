import { startPostgresql } from '../../../../scripts/lib/brokers/postgresql.ts';
import { conformanceOfDatabase } from './database.js';

await conformanceOfDatabase('PostgreSQL', await startPostgresql({ name: `conformance-${process.pid}` }));
