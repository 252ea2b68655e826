/** (S,G) and (*,G) as keys of the BPF map `replications`, and back; any source is all zeros. */
import { isUnspecified } from '../lisp/address.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import { decodeBpfGroupKey, encodeBpfGroupKey } from './abi.generated.js'
import { addressOf } from './eid-keys.js'

export function groupKey({ instanceId, source, group }: MulticastGroup): Uint8Array {
  return encodeBpfGroupKey({
    instanceFamily: instanceId * 256 + group.family,
    source: source?.bytes ?? new Uint8Array(),
    group: group.bytes,
  })
}

/** Undefined when its family is neither 4 nor 6. */
export function groupOfKey(key: Uint8Array): MulticastGroup | undefined {
  const { instanceFamily, source, group } = decodeBpfGroupKey(key)
  const from = addressOf(instanceFamily & 0xff, source)
  const to = addressOf(instanceFamily & 0xff, group)
  if (from === undefined || to === undefined) return undefined
  const instanceId = instanceFamily >>> 8
  return { instanceId, source: isUnspecified(from) ? undefined : from, group: to }
}
