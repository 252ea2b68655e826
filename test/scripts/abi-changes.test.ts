/**
 * When the version of the kernel ABI must be raised.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { changesUnderOneVersion } from '../../scripts/abi-changes.js'
import { packageFile } from '../../src/lab/names.js'

const present = readFileSync(packageFile('src/datapath/abi.generated.ts'), 'utf8')
const changed = (from: string | RegExp, to: string): string => {
  const text = present.replace(from, to)
  t.not(text, present, `${from} is in the file`)
  return text
}

t.test('a change of a struct or of a number asks for another version', async (t) => {
  t.same(changesUnderOneVersion(present, present), [], 'no change')
  const wider = changed(/COUNTER_BYTES = 24/, 'COUNTER_BYTES = 32')
  t.same(changesUnderOneVersion(present, wider), ['struct lisp_counter'])
  const moved = changed(/(LOCAL_EID_OFFSETS = \{ counterId: )0/, '$14')
  t.same(changesUnderOneVersion(present, moved), ['struct lisp_local_eid'])
  const turned = changed(
    'view.setUint32(at + 0, value.instanceFamily, false)',
    'view.setUint32(at + 0, value.instanceFamily, true)',
  )
  t.ok(
    changesUnderOneVersion(present, turned).includes('struct lisp_eid_key'),
    'another byte order',
  )
  const renumbered = changed("'hold': 5,", "'hold': 9,")
  t.same(changesUnderOneVersion(present, renumbered), ['enum lisp_map_cache_action'])
})

t.test('what is new, or says that it is another version, is no such change', async (t) => {
  const appended = changed("'hold': 5,", "'hold': 5,\n  'other': 99,")
  t.same(changesUnderOneVersion(present, appended), [], 'an enumerator')
  t.same(changesUnderOneVersion(appended, present), ['enum lisp_map_cache_action'], 'taken away')
  const raised = changed(/ABI_VERSION = \d+/, 'ABI_VERSION = 1000')
  t.same(changesUnderOneVersion(present, raised.replace("'hold': 5,", "'hold': 9,")), [])
  t.same(changesUnderOneVersion('', present), [], 'nothing was there')
})
