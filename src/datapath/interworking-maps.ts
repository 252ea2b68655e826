/**
 * What the programs need to know of interworking (RFC 6832): switches of the node, and the prefixes
 * that a Proxy-ITR attracts, that a Proxy-ETR serves, and that LISP-NAT translates.
 *
 * Written at start and at each reload. Wanted elements go in first, then the stale ones go: what
 * stays is never missing.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { EidPrefix } from '../lisp/eid.js'
import { encodeBpfTranslation, NODE_FLAGS } from './abi.generated.js'
import { type BpfMaps, replaceAll, u32Key } from './bpf-maps.js'
import { eidPrefixKey, keyText } from './eid-keys.js'

/** The bits of NODE_FLAGS that the configuration decides. */
export function relayFlags({ roles, interworking }: NodeConfig): number {
  return (
    (roles.includes('petr') ? NODE_FLAGS['petr'] : 0) |
    (roles.includes('rtr') ? NODE_FLAGS['rtr'] : 0) |
    ((interworking?.translations ?? []).length > 0 ? NODE_FLAGS['nat'] : 0)
  )
}

/** Brings the four tries in step with the configuration. */
export function writeInterworking({ interworking }: NodeConfig, maps: BpfMaps): void {
  const { attracted = [], sites = [], translations = [] } = interworking ?? {}
  const listed = (prefixes: readonly EidPrefix[]) => elements(prefixes, (_) => u32Key(1))
  replaceAll(maps, 'attracted_prefixes', listed(attracted))
  replaceAll(maps, 'proxied_sites', listed(sites))
  const out = new Map(translations.map(({ inside, outside }) => [inside, outside]))
  const back = new Map(translations.map(({ inside, outside }) => [outside, inside]))
  replaceAll(
    maps,
    'nat_inside',
    elements([...out.keys()], (one) => translation(out.get(one)!)),
  )
  replaceAll(
    maps,
    'nat_outside',
    elements([...back.keys()], (one) => translation(back.get(one)!)),
  )
}

function translation({ address, maskLength }: EidPrefix): Uint8Array {
  return encodeBpfTranslation({ address: address.bytes, maskLength })
}

function elements(prefixes: readonly EidPrefix[], encode: (prefix: EidPrefix) => Uint8Array) {
  return new Map(
    prefixes.map((prefix) => {
      const key = eidPrefixKey(prefix)
      return [keyText(key), { key, value: encode(prefix) }]
    }),
  )
}
