/** Operations about groups from the short texts of the vectors; instance 7 unless said otherwise. */
import type { DatapathOperation, Encapsulation } from '../../src/control/datapath-operation.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { locator } from '../../src/lisp/locator.js'
import { type MulticastGroup, parseGroup } from '../../src/lisp/multicast/multicast-group.js'
import type { GroupFields } from './vectors/vector.js'
import { INSTANCE, type LocatorFields, OWN_RLOC, PEER_RLOC } from './workbench.js'

export function groupNamed(text: string, instanceId = INSTANCE): MulticastGroup {
  const group = parseGroup(`[${instanceId}]${text}`)
  if (group === undefined) throw new Error(`no group: ${text}`)
  return group
}

export function putReplication(
  text: string,
  { to = [], on = [], level = 0, instanceId = INSTANCE }: GroupFields,
): Extract<DatapathOperation, { kind: 'put-replication' }> {
  const copies = to.map(encapsulationOf)
  const group = groupNamed(text, instanceId)
  return { kind: 'put-replication', group, copies, localInterfaces: on, level }
}

export function encapsulationOf(fields: LocatorFields): Encapsulation {
  const { family, destination = PEER_RLOC[family], pathMtu = 1500 } = fields
  return {
    locator: locator(parseIpAddress(destination)!, { priority: 1, weight: 1, reachable: true }),
    source: parseIpAddress(OWN_RLOC[family])!,
    pathMtu,
    gpe: fields.gpe ?? false,
    closed: fields.closed ?? false,
  }
}
