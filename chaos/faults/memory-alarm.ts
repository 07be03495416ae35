import type { FaultKind } from './fault.ts';

/** RabbitMQ believes that it has no memory left: it stops reading from those who publish (connection.blocked). */
export function memoryAlarm(ctl: (...args: string[]) => Promise<string>, producers: readonly string[]): FaultKind {
  return {
    ...{ name: 'memory alarm', weight: 1, longest: 5000 },
    prepare: () => ({
      targets: producers,
      begin: async () => {
        await ctl('set_vm_memory_high_watermark', '0.000001');
      },
      end: async () => {
        await ctl('set_vm_memory_high_watermark', '0.4');
        return undefined;
      },
    }),
  };
}
