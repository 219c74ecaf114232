"""The words that names and strings of the curriculum are made of.

Plain lists of our own, of things of everyday life. They are many on purpose: a model that sees a name a few
times only cannot learn it by heart and has to copy it from the intent. `values.py` joins them to compounds
and adds pseudo-words, so that the supply never ends.
"""

NOUNS = tuple(
    """
    acorn actor album alley amber anchor angle ankle apple apron arch arena arrow atlas attic aunt autumn
    avenue badge bag baker balance ball bamboo banana band bank banner barn barrel basin basket bath battery
    bay beach bead beam bean bear beard bed bee bell belt bench berry bicycle bill bird biscuit blanket
    blossom board boat bolt bone book boot border bottle bowl box branch brass bread breeze brick bridge
    broom brother brush bubble bucket budget building bulb bundle bus bush butter button cabin cabinet cable
    cactus cake camel camera camp canal candle candy canoe canvas cap captain card cargo carpet carrot cart
    castle cat cave ceiling cell center chain chair chalk channel chapter cheese cherry chest chicken
    chimney church cinema circle city clay clerk cliff clock cloth cloud clover club coach coal coast coat
    coffee coin collar color column comb comet compass cook copper coral cork corn corner cotton couch
    counter country cousin cow crab cradle crane crate crew cricket crow crown crystal cup curtain curve
    cushion customer daisy dance dawn deck desert desk dinner dish doctor dog doll dollar dolphin door
    drawer dream dress drill drum duck dust eagle earth echo edge egg elbow elephant engine envelope evening
    face falcon family farm farmer feather fence fern ferry festival field fig finger fire flag flame floor
    flour flower flute folder forest fork fountain fox frame friend frog fruit funnel garage garden gate gem
    ghost giraffe glass globe glove goat gold grain grape grass gravel guest guide guitar hammer hand harbor
    harp hat hawk hazel heart hedge hen herb hero hill hive holiday honey hook horse hotel house husband ink
    island ivory jacket jar jewel journey judge juice jungle kettle key kitchen kite kitten knee knot ladder
    lake lamb lamp lantern leather lemon letter library light lily lime lion lizard lobby lock log lunch
    magnet mango map maple marble market mask meadow meal medal melon metal meter mill minute mirror mist
    mitten monkey moon morning moth motor mountain museum music nail napkin neck needle nephew nest net
    night noodle north nose notebook nurse nut oak oat ocean office olive onion orange orbit orchard order
    organ otter oven owl owner package paddle page painter pan panda paper parade parcel park parrot party
    passage path peach peak pear pebble pen pencil penny pepper phone photo piano picnic picture pie pigeon
    pillow pilot pin pine pipe pizza plane planet plant plate player plum pocket poem point pond pony pool
    porch port post pot potato pouch powder price prince prize pump pupil puzzle quarter queen quilt rabbit
    radio raft rail rain ranch ribbon rice riddle ring river road robin robot rock roof room rope rose ruler
    saddle sail salad salt sand sauce scale scarf school score screen seat seed shadow shell shield ship
    shirt shoe shop shore shovel sign silk silver singer sink sister sketch skirt sky sled snail snow soap
    sock sofa soil song soup spade spark sparrow spice spider sponge spoon spring square squirrel stable
    stage stamp star station statue steam stem stone store storm stove straw stream street student sugar
    suit summer sun supper swan sweater table tail tailor tank teacher team temple tent theater thread
    throne ticket tide tiger tile timber toast token tomato tool torch towel tower town toy track trail
    train tray treasure tree trip truck trumpet tunnel turkey turtle uncle valley vase velvet village vine
    violin visit voice wagon wall walnut wave wax weather wheat wheel whistle window wing winter wood wool
    worker yard year amount answer batch cost data distance entry group height level limit mark measure
    middle note number outcome output portion rank rate record result reward sample share speed stock tally
    target total unit value volume weight width
    """.split()
)
"""Names of variables. Singular; a list may take the plural."""

ADJECTIVES = tuple(
    """
    amber ancient big blue bold brave bright brown busy calm cheap clean clear clever cold cool crisp daily
    dark deep dry early empty extra fair fast final fine first flat fresh full gentle golden good grand gray
    great green happy hard heavy hidden high hollow hot icy inner kind large last late lazy light little
    local lone long loud low lucky main mild modern narrow neat new next nice noisy odd old open outer pale
    plain proud pure quick quiet rare raw red rich ripe rough round royal rusty safe salty second secret
    sharp short shy silent simple slow small smooth soft solid sour spare steady steep strong sunny sweet
    tall thick thin tidy tiny total upper usual vast warm weak wet white wide wild wise wooden yellow young
    """.split()
)

VERBS = tuple(
    """
    adjust apply arrange bake brew build carry cast change check choose collect combine convert cook craft
    create deliver derive draw fetch fill find fix fold forge form gather get grow handle inspect join lift
    load make map measure mend mix move pack paint pick plan polish prepare process pull push reach refine
    render resolve roll run scan select send serve shape shift solve spin stack stretch switch take tend
    test trace transform treat tune turn update use visit wash weave work wrap
    """.split()
)
"""First halves of function names. None says what a function computes: the name must not give the code
away."""

SHORT_NAMES = tuple(
    """
    b c d e f g h k m n p q r s t u v w x y z
    aa bb cc dd ns ps qs vs ws xs ys zs n1 n2 x1 x2 y1 y2 t1 t2
    """.split()
)

PEOPLE = tuple(
    """
    Ada Alan Alice Amir Anna Ben Bob Carla Chen Clara Dan Diego Dora Emma Eric Eva Farid Finn Grace Hana
    Henry Ida Ivan Jack Jane Joe Julia Kim Lars Lena Leo Lily Lucas Maria Max Mia Nina Noah Nora Olga Omar
    Oscar Paul Pia Rosa Ruth Sam Sara Tom Uma Vera Will Yuki Zoe
    """.split()
)

OTHER_WORDS = tuple(
    """
    about after again all always and any away back before below best both can come day down each every far
    few for from give go has have hello here home how into is just keep know less like look made many may
    more most much must near never not now of off often on once only or our out over own play read said see
    some soon still such that the then there they think this time to today too two under up very was way we
    well were what when where which while who why with world yes yet you your
    """.split()
)
"""Words of sentences that are no nouns."""

ONSETS = tuple(
    "b c d f g h j k l m n p r s t v w z b d f g k l m n p r s t br ch cl dr fl gr pl sh sk sl st tr".split()
)
VOWELS = tuple("a e i o u a e i o u a e i o u ai ee oo".split())
CODAS = tuple("b d g k l m n p r s t x l m n r s t nd nt st".split())
ENDS = tuple("b ck d ff g ll m n nk p r rt st t x".split())
RUDE = tuple(
    """
    anal anus arse bitch bollo boob bugger clit cock coon crap cum cunt damn dick dyke fag fart fuc fuk
    homo jap jew jiz kike kill muslim nazi neger nig pajee paki penis pis poof poon poop porn prick puss
    rape rapi rapist retard sado scum sex shag shit skank slag slut spas sper spic suic suk tard teat
    terror tit tranny turd twat vagin wank whor xxx
    """.split()
)
"""What no made-up word may contain."""
