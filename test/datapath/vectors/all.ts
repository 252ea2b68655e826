/**
 * All packet vectors, in the order in which they run.
 */
import { CLOSED_NETWORK } from './closed-network.js'
import { DECAPSULATION } from './decapsulation.js'
import { ENCAPSULATION } from './encapsulation.js'
import { REPLICATION } from './replication.js'
import type { VectorGroup } from './vector.js'

export const PACKET_VECTORS: readonly VectorGroup[] = [
  ...ENCAPSULATION,
  ...DECAPSULATION,
  ...CLOSED_NETWORK,
  ...REPLICATION,
]
