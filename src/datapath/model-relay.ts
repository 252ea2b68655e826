/**
 * What the model datapath of an RTR, a Proxy-ETR and a Proxy-ITR (RFC 6832) needs to know, and its
 * questions about prefixes; native/bpf/interwork.h for packets without bytes. LISP-NAT is not
 * modelled: an abstract packet has nothing to be translated.
 */
import type { NodeConfig } from '../config/node-config.js'
import { coversEid, type Eid, type EidPrefix } from '../lisp/eid.js'

export interface ModelRelay {
  readonly petr: boolean
  readonly rtr: boolean
  /** Only these destinations of a site interface are looked up; undefined: all. */
  readonly attracted: readonly EidPrefix[] | undefined
  /** Inner sources that a Proxy-ETR lets out. */
  readonly sites: readonly EidPrefix[]
}

/** Of a node that has none of these roles. */
export const NO_RELAY: ModelRelay = { petr: false, rtr: false, attracted: undefined, sites: [] }

/** As the kernel is told by interworking-maps.ts and bpf-setup.ts. */
export function relayOf({ roles, interworking }: NodeConfig): ModelRelay {
  const proxy = roles.includes('pitr') && !roles.includes('itr')
  return {
    petr: roles.includes('petr'),
    rtr: roles.includes('rtr'),
    attracted: proxy ? (interworking?.attracted ?? []) : undefined,
    sites: interworking?.sites ?? [],
  }
}

/** Whether any of the prefixes covers the EID. */
export function isListed(prefixes: readonly EidPrefix[], eid: Eid): boolean {
  return prefixes.some((one) => coversEid(one, eid))
}
