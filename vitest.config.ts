import { defineConfig } from 'vitest/config'
import {
  beeLegs,
  beeOn,
  coreOn,
  full,
  graphileLegs,
  graphileOn,
  legs,
  moreBeeLegs,
  moreGraphileLegs,
  moreLegs,
} from './vitest.legs.js'

const core = (full ? [...legs, ...moreLegs] : legs).map(coreOn)
const bee = (full ? [...beeLegs, ...moreBeeLegs] : beeLegs).map(beeOn)
const graphile = (full ? [...graphileLegs, ...moreGraphileLegs] : graphileLegs).map(graphileOn)

export default defineConfig({
  test: {
    projects: [
      'packages/!(core|bee-queue|graphile-worker)',
      'tooling/*',
      'examples/*/vitest.config.ts',
      ...core,
      ...bee,
      ...graphile,
    ],
    maxWorkers: 2,
  },
})
