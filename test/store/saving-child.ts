/**
 * Saves records until it is killed and prints the name of each one after it is durable.
 */
import { writeSync } from 'node:fs'
import { openEmbeddedStore } from '../../src/store/embedded-store.js'

const store = await openEmbeddedStore(process.argv[2]!, () => {})
// Bounded, so that an orphan ends by itself.
for (let group = 0; group < 5_000; group += 1) {
  const names = Array.from({ length: 5 }, (_, index) => `${group}-${index}`)
  await Promise.all(
    names.map(async (scope) => {
      await store.save([{ kind: 'reservation', scope, ceiling: BigInt(group) }])
      writeSync(1, `${scope}\n`)
    }),
  )
}
