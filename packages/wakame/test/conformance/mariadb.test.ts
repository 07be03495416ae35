import { startMariadb } from '../../../../scripts/lib/brokers/mariadb.ts';
import { conformanceOfDatabase } from './database.js';

await conformanceOfDatabase('MariaDB', await startMariadb({ name: `conformance-${process.pid}` }));
