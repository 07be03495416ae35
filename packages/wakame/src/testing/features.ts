import type { TransportFeatures } from '../transport/contract.js';
import type { ConformanceOptions, FeatureFlag, Requirement } from './types.js';

/** Every flag; the type makes the list complete. */
const FLAGS: Readonly<Record<FeatureFlag, true>> = {
  heartbeats: true,
  reportsUnroutable: true,
  deliveriesOutliveConnection: true,
  messageTtl: true,
  queueTtl: true,
  maxLength: true,
  maxLengthBytes: true,
  deadLetter: true,
  delay: true,
  exclusive: true,
  autoDelete: true,
  exchangeBindings: true,
  alternateExchange: true,
  multipleAck: true,
  recover: true,
  persistent: true,
  multiProcess: true,
};

const MEANS: ReadonlySet<Requirement> = new Set<Requirement>([
  'disrupt',
  'outage',
  'mute',
  'restartBroker',
  'processes',
]);

/** What a transport may lack, all of it. */
const CLAIMABLE: readonly Requirement[] = [
  ...(Object.keys(FLAGS) as FeatureFlag[]),
  'priority',
  'exchange:direct',
  'exchange:topic',
  'exchange:fanout',
  'exchange:headers',
];

/** Whether the transport, or for a means the options, have what a case needs. */
export function has(features: TransportFeatures, options: ConformanceOptions, requirement: Requirement): boolean {
  switch (requirement) {
    case 'disrupt':
    case 'restartBroker':
    case 'processes':
      return options[requirement] !== undefined;
    case 'outage':
    case 'mute':
      return options.disrupt?.[requirement] !== undefined;
    default:
      return claims(features, requirement);
  }
}

function claims(features: TransportFeatures, requirement: Requirement): boolean {
  if (requirement === 'priority') return features.priority !== 'none';
  if (requirement.startsWith('exchange:')) return features.exchangeTypes.has(requirement.slice('exchange:'.length));
  return features[requirement as FeatureFlag];
}

/**
 * Where what is claimed and the reasons for what is not contradict each other, one sentence each. The flags must claim
 * all that the broker can do, so a gap without a reason is a defect.
 */
export function contradictions(features: TransportFeatures, options: ConformanceOptions): readonly string[] {
  const reasons = options.unsupported ?? {};
  const found: string[] = [];
  for (const requirement of CLAIMABLE) {
    const reason = reasons[requirement];
    if (claims(features, requirement)) {
      if (reason !== undefined) found.push(`'${requirement}' is claimed, and 'unsupported' gives a reason why not`);
    } else if (!reason) {
      found.push(`'${requirement}' is not claimed, and 'unsupported' gives no reason`);
    }
  }
  for (const name of Object.keys(reasons) as Requirement[]) {
    if (CLAIMABLE.includes(name)) continue;
    if (!MEANS.has(name)) found.push(`'unsupported' names '${name}', which is no feature`);
    else if (has(features, options, name)) found.push(`'${name}' is given, and 'unsupported' gives a reason why not`);
  }
  return found;
}

/** Why a case does not apply; undefined when it does. */
export function excuse(
  features: TransportFeatures,
  options: ConformanceOptions,
  needs: readonly Requirement[],
): string | undefined {
  const missing = needs.find((need) => !has(features, options, need));
  if (missing === undefined) return undefined;
  const reason = options.unsupported?.[missing];
  if (reason) return `${missing}: ${reason}`;
  return MEANS.has(missing) ? `the options give no '${missing}'` : `'${missing}' is not claimed`;
}
