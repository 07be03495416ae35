import { startMysql } from '../../../../scripts/lib/brokers/mysql.ts';
import { conformanceOfDatabase } from './database.js';

await conformanceOfDatabase('MySQL', await startMysql({ name: `conformance-${process.pid}` }));
