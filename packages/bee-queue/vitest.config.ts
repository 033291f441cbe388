import { onLeg } from '../../testing/legs.js'

export default onLeg('beeQueue', process.env.HOLDFAST_TEST_DB, process.env.HOLDFAST_TEST_VERSION)
