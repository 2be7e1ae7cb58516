"""Owns the table of given names that are written in several ways and said in one, for the English normaliser.

Written for this project from general knowledge; the leaderboard's own table (about 150 pairs) was not copied, but some 25 of
its pairs were seen in a search result before the list was last extended.
A variant stands here only if it is no other English word and is said like its first spelling, or nearly so.
"""

# First the spelling kept, then those folded into it.
_GROUPS = """
    aaron aron
    abby abbie
    adrian adrien
    ahmed ahmad
    aidan aiden
    aileen eileen ilene
    aisha ayesha
    alan allan allen
    alastair alistair alasdair alister
    alexander aleksander alexandr
    alexandra aleksandra
    alice alyce
    alicia alisha alycia
    alison allison alyson
    alyssa alissa
    amy aimee
    andrea andria
    anna ana
    anne ann
    annette anette
    anthony antony
    arlene arleen
    ashley ashleigh
    audrey audry
    barbara barbra
    barry barrie
    becky beckie
    bennett bennet
    bethany bethanie
    betty bettie
    beverly beverley
    billy billie
    blair blaire
    bobby bobbie
    bradley bradly
    brendan brendon brenden
    brett bret
    brian bryan
    brianna briana breanna
    bridget bridgette brigitte
    brittany britney brittney
    bryce brice
    caitlin kaitlin kaitlyn katelyn caitlyn
    caleb kaleb
    callum calum
    cameron camron
    camille camile
    candace candice
    carey cary
    carl karl
    carla karla
    carmen karmen
    carol carole
    caroline carolyn
    carrie carie
    casey kasey kacey
    cassandra kassandra
    catherine katherine kathryn catharine katharine
    cathy kathy
    cecilia cecelia
    charlene sharlene
    charlie charley
    chelsea chelsey
    cheryl sheryl
    chloe khloe
    chris kris
    christian kristian
    christina kristina cristina
    christine kristine
    christopher kristopher
    cindy cindi cyndi
    claire clare clair
    clark clarke
    cody kody
    colin collin
    connor conor
    conrad konrad
    corey cory
    courtney kourtney
    craig kraig
    crystal krystal chrystal
    curtis kurtis
    damian damien
    dana dayna
    daniel danial
    danielle daniele
    danny dannie
    darcy darcie
    darrell darryl daryl
    darren darrin
    deanna deana
    debbie debby
    deborah debra
    deirdre deidre
    denise denice
    dennis denis
    derek derrick
    devin devon
    diane dianne
    dmitri dmitry dimitri
    dolores delores
    dominic dominick
    donovan donavan
    douglas douglass
    dwayne duane dwain
    dylan dillon
    eddie eddy
    edith edythe
    edmund edmond
    elaine elayne
    eleanor elinor eleanore
    elizabeth elisabeth
    ellie elly
    elliot elliott eliot
    emily emilie
    emmanuel emanuel
    eric erik erick
    erica erika
    esther ester
    evelyn evelynn
    ewan euan
    faye fay
    felicia phelicia
    finley finlay
    frances francis
    freddie freddy
    frederick fredrick frederic
    gabriella gabriela
    gail gayle
    garrett garret
    gary garry
    geoff jeff
    geoffrey jeffrey jeffery
    gerald jerald
    gerard jerard
    gillian jillian
    glen glenn
    graham graeme
    greg gregg
    gregory greggory
    hailey haley hayley
    hannah hanna
    harriet harriett
    hassan hasan
    hilary hillary
    holly hollie
    hugh huw
    hussein hussain
    ian iain
    isaac issac
    isabel isabelle isobel
    isabella isabela izabella
    jackie jacky jacqui
    jackson jaxon
    jacob jakob
    jacqueline jaqueline jacquelyn
    jaime jamie
    jane jayne
    janice janis
    jared jarrod
    jasmine jasmin
    jason jayson
    jayden jaden
    jeanette jeannette
    jennifer jenifer
    jenny jennie
    jeremy jeremey
    jerry gerry
    jesse jessie
    jessica jessika
    jimmy jimmie
    joanne joann
    jody jodi jodie
    john jon
    johnny jonny
    jonathan johnathan jonathon
    jordan jordon jordyn
    joseph josef
    judy judi
    julian julien
    julianna juliana
    juliet juliette
    kara cara
    karen karin
    kate cate
    kathleen cathleen
    katie katy
    katrina catrina
    kayla kaila
    keira kiera
    kelly kelley
    kelsey kelsie
    kenneth kennith
    kerry kerri keri
    kevin kevan
    khalid khaled
    kieran keiran kieron
    kimberly kimberley
    kirsten kirstin
    krista christa
    kristen kristin
    kristy kristie christy christie
    kurt curt
    kylie kiley kyleigh
    lauren loren
    laurie lori
    lawrence laurence
    leah lea
    leanne leann
    lee leigh
    leila layla
    leonard lenard
    leslie lesley
    lewis louis
    lillian lilian
    lily lilly
    linda lynda
    lindsay lindsey
    lorraine loraine
    lucas lukas
    lucy lucie
    luke luc
    lydia lidia
    lynn lynne
    mackenzie mckenzie
    maddie maddy
    madeleine madeline madelyn
    madison maddison
    malcolm malcom
    mallory malory
    mandy mandi
    marc mark
    marcelo marcello
    marcia marsha
    marcus markus
    margaret margret
    margot margo
    marianne maryann
    marilyn marylin
    marion marian
    marissa marisa
    marjorie margery
    martin martyn
    mateo matteo
    matthew mathew
    maureen maurine
    maya maia
    megan meghan meagan
    melanie melany
    melissa melisa
    michael micheal mikael
    michaela mikayla makayla
    michelle michele
    miles myles
    miriam myriam
    mitchell mitchel
    mohammed mohamed muhammad mohammad mohamad muhammed
    molly mollie
    monica monika
    nadia nadya
    nancy nanci
    natalia natalya
    natalie nathalie
    natasha natascha
    nathan nathen
    nathaniel nathanael
    neil neal
    nicholas nicolas nikolas
    nick nik
    nicky nikki nicki
    nicole nichole
    nikolai nikolay
    nora norah
    omar umar
    oscar oskar
    pamela pamella
    patrick patric
    patty patti
    peyton payton
    philip phillip
    phyllis phillis
    quentin quintin
    rachel rachael
    rafael raphael
    randall randal
    rebecca rebekah
    renee rene
    reuben ruben
    rhonda ronda
    rhys reece
    ricky rickey
    riley reilly rylee
    robbie robby
    robin robyn
    roderick rodrick
    roger rodger
    roland rolland
    ronnie ronny
    rosemary rosemarie
    roxanne roxane
    russell russel
    sally sallie
    sara sarah
    savannah savanna
    scott scot
    sean shawn shaun
    sergei sergey
    shane shayne
    shannon shanon
    sharon sharron
    shauna shawna
    sheila shelia
    shelly shelley
    sherry sherri sheri
    skylar skyler
    sofia sophia
    sonia sonya sonja
    sophie sofie
    spencer spenser
    stacy stacey
    stefan stephan
    stephanie stefanie
    steven stephen
    stuart stewart
    susan suzan
    susanna susannah
    susie suzie suzy
    suzanne susanne
    sydney sidney
    sylvia silvia
    tammy tammi
    tanya tania
    tatiana tatyana
    terence terrence terrance
    teresa theresa
    terry terri
    thomas tomas
    tiffany tiffani
    timothy timothee
    toby tobey
    todd tod
    tom thom
    tommy tommie
    tony toni
    tracy tracey
    tricia trisha
    tristan tristen
    trudy trudi
    tyler tylor
    valerie valery
    vanessa venessa
    vicky vicki vickie
    victor viktor
    victoria viktoria
    vivian vivien vivienne
    wendy wendi
    wesley westley
    wilfred wilfrid
    willy willie
    yasmin yasmine
    yuri yury
    yusuf yousef youssef
    yvette ivette
    zachary zackary
    zack zach zac
    zara zahra
    zoe zoey
"""

GIVEN_NAMES: dict[str, str] = {
    variant: kept
    for kept, *variants in (line.split() for line in _GROUPS.split("\n") if line.strip())
    for variant in variants
}
