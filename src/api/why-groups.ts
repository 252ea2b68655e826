/**
 * What would happen to a packet to a group at this node now: by the entries of the groups' page.
 *
 * The datapath's rule: (S,G) before (*,G), and that one entry alone. Without a source asked for, every
 * entry of the group is told.
 */
import type { Static } from 'typebox'
import type { NodeSnapshot } from '../control/snapshot.js'
import { formatIpAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import type { WhyVerdict } from './why-views.js'

type GroupEntry = NodeSnapshot['groups'][number]

/** The verdict on `eid`, whose address is a group, for packets of `from` or of anybody. */
export function groupVerdict(
  eid: Eid,
  from: Eid | undefined,
  { groups }: Pick<NodeSnapshot, 'groups'>,
): Static<typeof WhyVerdict> {
  const ours = groups.filter((one) => isOfGroup(one, eid))
  const registered = ours.filter(({ side }) => side === 'map-server')
  const chosen = chooseEntries(
    ours.filter(({ side }) => side !== 'map-server'),
    from,
  )
  if (chosen.length > 0)
    return { code: 'replicated', text: `is a group: ${chosen.map(entryText).join('; ')}` }
  if (registered.length > 0) {
    const sites = registered.map(({ group, members }) => `${group} by ${members} sites`)
    return { code: 'registered', text: `is a group that is registered: ${sites.join('; ')}` }
  }
  const text = 'is a group that nobody has asked for here: packets stay on their segment'
  return { code: 'dropped', text }
}

/** Entries of the group of `eid`, of whatever source. */
export function isOfGroup({ group, instanceId }: GroupEntry, eid: Eid): boolean {
  return instanceId === eid.instanceId && group.endsWith(`,${formatIpAddress(eid.address)})`)
}

function chooseEntries(all: readonly GroupEntry[], from: Eid | undefined): readonly GroupEntry[] {
  if (from === undefined) return all
  const named = (source: string): readonly GroupEntry[] =>
    all.filter(({ group }) => group.includes(`(${source},`))
  const exact = named(formatIpAddress(from.address))
  return exact.length > 0 ? exact : named('*')
}

function entryText({ group, copies, interfaces, side }: GroupEntry): string {
  const what = [
    ...(copies.length === 0 ? [] : [`copied to ${copies.join(', ')}`]),
    ...(interfaces.length === 0 ? [] : [`delivered on ${interfaces.join(', ')}`]),
  ]
  const where = side === 'relay' ? ' from the core' : ''
  return `${group}${where} ${what.join(' and ') || 'goes to nobody'}`
}
