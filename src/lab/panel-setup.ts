/**
 * The process that sets up one patch panel: run inside the panel's network namespace, because a
 * program attaches to interfaces of its own namespace only. Ends at once; the links stay, pinned.
 */
import { attachPanel, type PanelSetup } from './panel.js'

attachPanel(JSON.parse(process.argv[2] ?? '{}') as PanelSetup)
